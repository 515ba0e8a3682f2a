import { join } from 'node:path'
import t from 'tap'
import { answerPack } from '../../../protocol/pack/writer.js'
import type { PackRequest } from '../../../protocol/ports.js'
import { AnswerMemory } from '../../../src/packs/answer-cache.js'
import type { WholeAnswer } from '../../../src/packs/kept-answer.js'
import type { SharedAnswerName } from '../../../src/packs/shared-answers.js'
import { oneChunk } from '../../../src/storage/whole-bytes.js'
import { becomes } from '../../support/becomes.js'
import { AnswerFiles } from '../../../src/packs/answer-files.js'
import { createAnswers } from '../../../src/packs/answers.js'
import { findStoredAnswer } from '../../../src/packs/stored-answer.js'
import { cloneRequest, create, openDomain, slices, workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { collect } from '../../support/wire.js'

const domain = await openDomain(t)
const work = await workTree(t.testdir())
const answers = createAnswers({ answerBytes: 2 ** 20 })

async function packed(view: Parameters<ReturnType<typeof answers.answerFor>>[0], asked: PackRequest): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of answers.answerFor('user 1')(view, asked, { slices: slices() })) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** What git finds in a pack. */
async function objectsOf(pack: Buffer): Promise<string[]> {
  const bare = join(work.cwd, `probe-${Math.random()}.git`)
  await git(['init', '-q', '--bare', bare])
  await git(['index-pack', '--stdin', '--strict'], { cwd: bare, input: pack })
  const { stdout } = await git(['cat-file', '--batch-all-objects', '--batch-check=%(objectname)'], { cwd: bare })
  return stdout.toString().trim().split('\n').toSorted()
}

t.test('a stored pack is the answer only to who wants all that it holds', async (t) => {
  const repo = await domain.makeRepo('whole')
  const one = await work.commit({ a: '1' })
  const two = await work.commit({ a: '2' })
  await git(['tag', '-a', '-m', 't', 'v1', one], { cwd: work.cwd })
  const tag = await work.rev('v1')
  const pack = await work.pack(two, tag)
  await domain.push(repo, { commands: [create('refs/heads/main', two), create('refs/tags/v1', tag)], pack })
  const view = await domain.packs.openSnapshot(repo.id)
  t.equal(findStoredAnswer(view, cloneRequest([two, tag])), 0)
  t.same(await packed(view, cloneRequest([two, tag])), pack, 'byte for byte')
  t.equal(findStoredAnswer(view, cloneRequest([two, tag, one])), 0, 'wanting more of it is no hindrance')
  t.equal(findStoredAnswer(view, cloneRequest([two], { includeTag: true })), 0, 'the tag goes along when it is asked for')
  const cases: readonly (readonly [string, PackRequest])[] = [
    ['not every root is wanted', cloneRequest([two])],
    ['an older commit', cloneRequest([one])],
    ['something is had', cloneRequest([two, tag], { haves: [one] })],
    ['history is cut', cloneRequest([two, tag], { boundary: { shallow: [two], unshallow: [] } })],
    ['something is left out', cloneRequest([two, tag], { filter: { blobBytes: 0, treeDepth: Infinity } })],
    ['no offsets', cloneRequest([two, tag], { ofsDelta: false })],
    ['nothing is wanted', cloneRequest([])],
    ['something that is not in it', cloneRequest([two, tag, 'f'.repeat(40)])],
  ]
  for (const [name, asked] of cases) t.equal(findStoredAnswer(view, asked), -1, name)
  view.release()
})

t.test('an object smuggled into a pack is not sent to who did not want it', async (t) => {
  const repo = await domain.makeRepo('smuggled')
  const oid = await work.commit({ s: 'in the open' })
  const { stdout } = await git(['hash-object', '-w', '--stdin'], { cwd: work.cwd, input: Buffer.from('smuggled') })
  const hidden = stdout.toString().trim()
  const list = await git(['rev-list', '--objects', '--no-object-names', oid], { cwd: work.cwd })
  const names = `${list.stdout.toString()}${hidden}\n`
  const pack = (await git(['pack-objects', '--stdout', '-q'], { cwd: work.cwd, input: Buffer.from(names) })).stdout
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack })
  const view = await domain.packs.openSnapshot(repo.id)
  t.equal(findStoredAnswer(view, cloneRequest([oid])), -1)
  const sent = await objectsOf(await packed(view, cloneRequest([oid])))
  t.notOk(sent.includes(hidden))
  t.ok(sent.includes(oid))
  t.ok((await objectsOf(await packed(view, cloneRequest([oid, hidden])))).includes(hidden))
  view.release()
})

t.test('a pack that leans on others is no answer, and neither is a hidden one', async (t) => {
  const repo = await domain.makeRepo('leaning')
  const base = await work.commit({ l: '1' })
  const next = await work.commit({ l: '2' })
  await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
  await domain.push(repo, { commands: [create('refs/heads/next', next)], pack: await work.pack(next, `^${base}`) })
  const view = await domain.packs.openSnapshot(repo.id)
  t.equal(findStoredAnswer(view, cloneRequest([next])), -1)
  const { stdout } = await git(['rev-list', '--objects', '--no-object-names', next], { cwd: work.cwd })
  t.same(await objectsOf(await packed(view, cloneRequest([next]))), stdout.toString().trim().split('\n').toSorted())
  view.release()
})

t.test('answers are kept by use, within their memory', async (t) => {
  const memory = new AnswerMemory({ maxBytes: 10_000, maxAnswerBytes: 4_000 })
  const a = memory.within('a')
  const keep = (cache: typeof a, key: string, bytes: number): void => {
    const recording = cache.record(key)
    const chunk = Buffer.alloc(bytes, key)
    recording.add(chunk)
    chunk.fill(0)
    recording.keep()
  }
  keep(a, 'x', 3_000)
  t.same(a.find('x'), Buffer.alloc(3_000, 'x'), 'chunks are copied')
  t.equal(a.find('x')!.buffer.byteLength, 3_000, 'what is kept holds no memory but its own')
  t.equal(memory.within('b').find('x'), undefined, 'another repository knows nothing of it')
  keep(a, 'big', 4_001)
  t.equal(a.find('big'), undefined)
  const broken = a.record('broken')
  broken.add(Buffer.from('half'))
  t.equal(a.find('broken'), undefined, 'an answer that did not end is not kept')
  keep(a, 'y', 3_000)
  a.find('x')
  keep(a, 'z', 3_000)
  t.equal(a.find('y'), undefined, 'the longest unused went')
  t.ok(a.find('x') && a.find('z'))
  t.ok(memory.bytes <= 10_000)
})

t.test('answers on their way have as much memory as those that are kept, and give it back however they end', async (t) => {
  const cache = new AnswerMemory({ maxBytes: 10_000, maxAnswerBytes: 4_000 }).within('a')
  const begin = (key: string) => {
    const recording = cache.record(key)
    recording.add(Buffer.alloc(4_000))
    return recording
  }
  const ends = (key: string): boolean => {
    const recording = begin(key)
    recording.keep()
    recording.end()
    return cache.find(key) !== undefined
  }
  const left = [begin('left 1'), begin('left 2')]
  t.notOk(ends('no room'))
  for (const recording of left) {
    recording.end()
    recording.end()
    recording.keep()
  }
  t.equal(cache.find('left 1'), undefined, 'what was given up is not kept')
  t.ok(ends('x'))
  for (const key of ['1', '2', '3', '4', '5']) t.ok(ends(key), `${key}: those before gave their room back`)
})

t.test('a pack that takes too long to make is given up, with the reason', async (t) => {
  const repo = await domain.makeRepo('slow-build')
  const oid = await work.commit({ slow: 'build' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const view = await domain.packs.openSnapshot(repo.id)
  let cancelled = false
  const never = async function* (_view: unknown, _request: unknown, { slices: { signal } }: { slices: { signal?: AbortSignal } }) {
    await new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(new Error('cancelled'))))
    cancelled = true
    yield new Uint8Array(0)
  }
  const limited = createAnswers({
    answerBytes: 2 ** 20,
    jobs: { answer: never, beyond: async () => undefined, reaches: async () => true, deepen: async () => ({ shallow: [], unshallow: [] }) },
    limits: { maxBuildMs: 40, buildsAtOnce: 1 },
    onAnswered: (source, outcome) => told.push(`${source} ${outcome}`),
  })
  const told: string[] = []
  const asked = cloneRequest([oid], { ofsDelta: false })
  const take = async () => {
    for await (const _chunk of limited.answerFor('user 1')(view, asked, { slices: slices() })) continue
  }
  const [first, second] = [take(), take()]
  t.equal(limited.usage().waiting, 1)
  await t.rejects(first, { code: 'too-large', message: /making the pack took more than 0.04 seconds/ })
  await t.rejects(second, { code: 'too-large' }, 'and had its own time, in its turn')
  t.equal(cancelled, false)
  t.equal(limited.usage().waiting, 0)
  t.same(told, ['walk failed', 'walk failed'])
  view.release()
})

t.test('shallow and partial clones are kept as files by all that shapes them; what is fetched for one later is not', async (t) => {
  const repo = await domain.makeRepo('kept-files')
  const one = await work.commit({ kept: 'one' })
  const two = await work.commit({ kept: 'two' })
  await domain.push(repo, { commands: [create('refs/heads/main', two)], pack: await work.pack(two) })
  const view = await domain.packs.openSnapshot(repo.id)
  let made = 0
  const files = new AnswerFiles({ directory: join(t.testdir(), 'answers'), maxBytes: 1_000_000, slices })
  t.teardown(() => files.forget())
  const keeping = createAnswers({
    answerBytes: 2 ** 20,
    files,
    jobs: {
      answer: (on, request, options) => {
        made += 1
        return answerPack(on, request, options)
      },
      beyond: async () => undefined,
      reaches: async () => true,
      deepen: async () => ({ shallow: [], unshallow: [] }),
    },
  })
  const take = async (wants: readonly string[], more: object): Promise<number> => {
    for await (const _chunk of keeping.answerFor('user 1')(view, cloneRequest(wants, more), { slices: slices() })) continue
    return made
  }
  const none = Number.POSITIVE_INFINITY
  const clones = [
    { boundary: { shallow: [two], unshallow: [] } },
    { boundary: { shallow: [one], unshallow: [] } },
    { boundary: { shallow: [two], unshallow: [two] } },
    { filter: { blobBytes: 0, treeDepth: none } },
    { filter: { blobBytes: none, treeDepth: 0 } },
    { filter: { blobBytes: none, treeDepth: none } },
  ]
  for (const [i, clone] of clones.entries()) {
    t.equal(await take([two], clone), i + 1)
    t.equal(await take([two], clone), i + 1)
  }
  const blob = await work.rev(`${two}:kept`)
  const used = files.usedBytes
  t.equal(await take([blob], clones[3]!), 7)
  t.equal(await take([blob], clones[3]!), 8)
  t.equal(files.usedBytes, used)
  view.release()
})

t.test('cutting a history has its turn and its time, and goes on while packs are made', async (t) => {
  const repo = await domain.makeRepo('slow-cut')
  const oid = await work.commit({ slow: 'cut' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const view = await domain.packs.openSnapshot(repo.id)
  const begun: string[] = []
  const stuck = (signal: AbortSignal | undefined): Promise<never> =>
    new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(new Error('cancelled'))))
  const limited = createAnswers({
    answerBytes: 2 ** 20,
    jobs: {
      answer: async function* (_view, _request, options) {
        begun.push('pack')
        yield await stuck(options.slices.signal)
      },
      beyond: async () => undefined,
      reaches: async () => true,
      deepen: (_view, _request, options) => {
        begun.push('cut')
        return stuck(options.slices.signal)
      },
    },
    limits: { maxBuildMs: 40, buildsAtOnce: 1 },
  })
  const made = (limited.answerFor('user 1')(view, cloneRequest([oid], { ofsDelta: false }), { slices: slices() }) as AsyncGenerator).next()
  const cut = () => limited.deepenFor('user 1')(view, { tips: [], shallow: [], limit: { kind: 'depth', depth: 1 } }, { slices: slices() })
  const [first, second] = [cut(), cut()]
  await new Promise((resolve) => setImmediate(resolve))
  t.same(begun.toSorted(), ['cut', 'pack'])
  t.equal(limited.usage().waiting, 1)
  const late = { code: 'too-large', message: 'cutting the history took more than 0.04 seconds' }
  await Promise.all([t.rejects(made, { code: 'too-large' }), t.rejects(first, late), t.rejects(second, late)])
  t.equal(begun.length, 3)
  t.equal(limited.usage().waiting, 0)
  view.release()
})

t.test('what answered is told, and whether all of it was taken', async (t) => {
  const repo = await domain.makeRepo('told')
  const oid = await work.commit({ told: 'so' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const view = await domain.packs.openSnapshot(repo.id)
  const told: string[] = []
  const telling = createAnswers({ answerBytes: 2 ** 20, onAnswered: (source, outcome) => told.push(`${source} ${outcome}`) })
  const take = async (asked: PackRequest, signal?: AbortSignal) => {
    for await (const _chunk of telling.answerFor('user 1')(view, asked, { slices: slices(signal) })) continue
  }
  const stored = cloneRequest([oid])
  const walk = cloneRequest([oid], { ofsDelta: false })
  await take(stored)
  await take(walk)
  for await (const _chunk of telling.answerFor('user 1')(view, stored, { slices: slices() })) break
  for await (const _chunk of telling.answerFor('user 1')(view, walk, { slices: slices() })) break
  await t.rejects(take(walk, AbortSignal.abort()), { code: 'cancelled' })
  telling.onKept()
  t.same(told, ['stored sent', 'walk sent', 'stored left', 'walk left', 'walk left', 'kept sent'])
  view.release()
})

t.test('an answer that another hub made is not made again; one that is made is offered to others, under the same name', async (t) => {
  const repo = await domain.makeRepo('shared-between')
  const oid = await work.commit({ shared: 'between' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const view = await domain.packs.openSnapshot(repo.id)
  const store = new Map<string, Buffer>()
  const nameOf = ({ repoId, purgeEpoch, request }: SharedAnswerName) => `${repoId} ${purgeEpoch} ${Buffer.from(request).toString('hex')}`
  const shared = {
    async find(name: SharedAnswerName) {
      const found = store.get(nameOf(name))
      return found && oneChunk(found)
    },
    async keep(name: SharedAnswerName, answer: WholeAnswer) {
      store.set(nameOf(name), await collect(answer.read()))
    },
  }
  const hub = () => {
    const told: string[] = []
    const files = new AnswerFiles({ directory: join(t.testdirName, 'answers'), maxBytes: 1_000_000, slices })
    t.teardown(() => files.forget())
    const answers = createAnswers({ answerBytes: 2 ** 20, files, shared, onAnswered: (source, outcome) => told.push(`${source} ${outcome}`) })
    const clone = (more: Partial<PackRequest> = {}) =>
      collect(answers.answerFor('user 1')(view, cloneRequest([oid], { ofsDelta: false, ...more }), { slices: slices() }))
    return { told, clone }
  }
  const [one, other] = [hub(), hub()]
  const made = await one.clone()
  t.ok(await becomes(() => store.size === 1))
  t.ok((await other.clone()).equals(made))
  t.ok((await other.clone()).equals(made))
  t.equal(store.size, 1)
  await other.clone({ includeTag: true })
  t.ok(await becomes(() => store.size === 2))
  t.same([one.told, other.told], [['walk sent'], ['shared sent', 'kept sent', 'walk sent']])
  view.release()
})
