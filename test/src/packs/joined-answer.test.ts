import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { deepen } from '../../../protocol/deepen.js'
import { packBeyond } from '../../../protocol/pack/beyond.js'
import { answerPack } from '../../../protocol/pack/writer.js'
import type { PackRequest } from '../../../protocol/ports.js'
import { reaches } from '../../../protocol/reachable.js'
import { createAnswers } from '../../../src/packs/answers.js'
import { findGiven, findJoinedAnswer, readJoinedPacks } from '../../../src/packs/joined-answer.js'
import { packKey } from '../../../src/storage/keys.js'
import { collecting, pushed, pushMany } from '../../support/collections.js'
import { cloneRequest, create, move, never, openDomain, slices } from '../../support/domain.js'
import { git } from '../../support/git.js'

t.test('two packs are joined only when both are what they are called, and a client notices what changes later', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last: before } = await pushMany(domain, 'joined', 5, t.testdir())
  const last = await work.commit({ noise: randomBytes(200_000) }) // too much for a pack in the database
  await pushed(domain, repo, { commands: [move('refs/heads/main', before, last)], pack: await work.pack(last, `^${before}`) })
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const pair = findJoinedAnswer(view, cloneRequest([last]))!
  const read = async (): Promise<Buffer> => {
    const chunks: Buffer[] = []
    for await (const chunk of readJoinedPacks(view, [pair.meta, pair.blobs], { slices: slices() })) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  }
  const path = join(domain.blobDirectory, packKey(view.packs[pair.blobs]!.sha256))
  const whole = await readFile(path)
  const spoilt = Buffer.from(whole)
  spoilt[40]! ^= 1
  const endsWell = (pack: Buffer): boolean => createHash('sha1').update(pack.subarray(0, -20)).digest().equals(pack.subarray(-20))

  await writeFile(path, spoilt)
  await t.rejects(read(), { code: 'corrupt', message: /is not what its name says/ })
  await writeFile(path, whole)
  const first = await read()
  t.equal(first.readUInt32BE(8), 23)
  t.ok(endsWell(first))
  t.ok((await read()).equals(first), 'the end that is remembered is the right one')
  await writeFile(path, spoilt)
  const later = await read()
  t.equal(later.length, first.length)
  t.notOk(endsWell(later), 'nobody takes it for whole')
  await writeFile(path, whole)
})

t.test('what came since a collection goes behind its packs, and nothing twice', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'since', 5, t.testdir())
  const noise = await work.commit({ noise: randomBytes(200_000) })
  await pushed(domain, repo, {
    commands: [move('refs/heads/main', last, noise), create('refs/heads/side', last)],
    pack: await work.pack(noise, `^${last}`),
  })
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
  // A commit that brings the first content back, and one pack with a copy of what was collected.
  const back = await work.commit({ 'a.txt': 'new', noise: 'small' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', noise, back)], pack: await work.pack(back, `^${noise}`) })
  const again = await work.commit({ 'b.txt': 'newer' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', back, again)], pack: await work.pack(again) })
  await git(['tag', '-a', '-m', 'old', 'old', last], { cwd: work.cwd })
  const tag = await work.rev('refs/tags/old')
  await pushed(domain, repo, { commands: [create('refs/tags/old', tag)], pack: await work.pack(tag, `^${noise}`) })

  const told: string[] = []
  const answers = createAnswers({ answerBytes: 0, onAnswered: (source) => void told.push(source) })
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  /** The objects of the answer as git finds them, and as it says they should be. */
  const clone = async (name: string, request: PackRequest, expected: readonly string[]): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of answers.answerFor('user 1')(view, request, { slices: slices() })) chunks.push(Buffer.from(chunk))
    const bare = join(t.testdirName, name.replaceAll(' ', '-'))
    await git(['init', '-q', '--bare', bare])
    const filtered = request.filter ? [] : ['--strict']
    const { stdout } = await git(['index-pack', '--stdin', ...filtered], { cwd: bare, input: Buffer.concat(chunks) })
    const index = join(bare, 'objects', 'pack', `pack-${stdout.toString().trim().split('\t')[1]}.idx`)
    const shown = (await git(['show-index'], { cwd: bare, input: await readFile(index) })).stdout.toString().trim().split('\n')
    const wanted = (await git(['rev-list', '--objects', '--no-object-names', ...expected], { cwd: work.cwd })).stdout.toString().trim().split('\n')
    t.same(shown.map((line) => line.split(' ')[1]!).toSorted(), wanted.toSorted(), name)
  }
  const blobless = { blobBytes: 0, treeDepth: Number.POSITIVE_INFINITY }
  await clone('all branches', cloneRequest([again, last]), [again])
  await clone('the tag is wanted', cloneRequest([again, last, tag]), [again, tag])
  await clone('the tag comes along', cloneRequest([again, last], { includeTag: true }), [again, tag])
  await clone('without blobs', cloneRequest([again, last], { filter: blobless }), [again, '--filter=blob:none'])
  t.same(told, ['stored', 'stored', 'stored', 'stored'])
  await clone('what was collected is not all wanted', cloneRequest([last]), [last])
  await clone('another filter', cloneRequest([again], { filter: { blobBytes: 0, treeDepth: 1 } }), [again, '--filter=tree:1'])
  await clone('no offsets', cloneRequest([again], { ofsDelta: false }), [again])
  t.same(told.slice(4), ['walk', 'walk', 'walk'])
  t.equal(await packBeyond(view, cloneRequest([last]), findGiven(view, cloneRequest([last]))!, { slices: slices() }), undefined)
})

t.test('what goes behind is held once for all who take the same, within a limit, and is not looked for again where there is none', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'held', 5, t.testdir())
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
  const next = await work.commit({ noise: randomBytes(20_000) })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })

  let looks = 0
  const told: string[] = []
  const open = (beyondBytes: number) =>
    createAnswers({
      answerBytes: 0,
      beyondBytes,
      onAnswered: (source, outcome) => void told.push(`${source} ${outcome}`),
      jobs: { answer: answerPack, beyond: (...args) => (looks++, packBeyond(...args)), reaches, deepen },
    })
  const answers = open(100_000)
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const begin = async (request: PackRequest, from = answers) => {
    const chunks = from.answerFor('user 1')(view, request, { slices: slices() })[Symbol.asyncIterator]()
    await chunks.next()
    return chunks
  }
  const [first, second] = [await begin(cloneRequest([next])), await begin(cloneRequest([next]))]
  const { bytes } = answers.usage()
  t.ok(bytes > 20_000 && bytes < 30_000, `${bytes} bytes`)
  await first.return!()
  t.equal(answers.usage().bytes, bytes)
  await second.return!()
  t.equal(answers.usage().bytes, 0)
  t.equal(looks, 2)

  const small = open(10_000)
  await (await begin(cloneRequest([next]), small)).return!()
  t.equal(small.usage().bytes, 0)
  t.same(told, ['stored left', 'stored left', 'walk left'])

  looks = 0
  for (let i = 0; i < 2; i++) await (await begin(cloneRequest([last]))).return!()
  t.same(told.slice(3), ['stored left', 'stored left'], 'the packs alone')
  const elsewhere = await work.rev(`${last}~2`)
  for (let i = 0; i < 2; i++) await (await begin(cloneRequest([elsewhere]))).return!()
  t.same(told.slice(5), ['walk left', 'walk left'])
  t.equal(looks, 1)
})

t.test('a history is cut while others wait for what goes behind', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'turns', 5, t.testdir())
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
  const next = await work.commit({ noise: 'new' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  const { promise: goOn, resolve } = Promise.withResolvers<void>()
  const answers = createAnswers({
    answerBytes: 0,
    limits: { buildsAtOnce: 1 },
    jobs: { answer: answerPack, beyond: (...args) => goOn.then(() => packBeyond(...args)), reaches, deepen },
  })
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const answer = answers.answerFor('user 1')(view, cloneRequest([next]), { slices: slices() })
  const chunks = answer[Symbol.asyncIterator]()
  const first = chunks.next()
  const tips = cloneRequest([next]).wants
  const cut = answers.deepenFor('user 1')(view, { tips, shallow: [], limit: { kind: 'depth', depth: 1 } }, { slices: slices() })
  let tooLate = false
  const late = setTimeout(() => {
    tooLate = true
    resolve()
  }, 5_000)
  t.same((await cut).shallow, [next])
  t.notOk(tooLate, 'it did not wait for them')
  clearTimeout(late)
  resolve()
  await first
  await chunks.return!()
})
