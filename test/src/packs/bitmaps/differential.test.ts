import { join } from 'node:path'
import { mkdir } from 'node:fs/promises'
import t from 'tap'
import { enumerateByBitmaps, type ReachBitmaps } from '../../../../protocol/bitmap/enumerate-by-bitmaps.js'
import { enumerateObjects } from '../../../../protocol/enumerate.js'
import type { ObjectSet } from '../../../../protocol/object-set.js'
import { answerPack, writePack } from '../../../../protocol/pack/writer.js'
import type { PackRequest, PackView } from '../../../../protocol/ports.js'
import { KeptBitmaps } from '../../../../src/packs/bitmaps/kept-bitmaps.js'
import { openBitmaps } from '../../../../src/packs/bitmaps/open-bitmaps.js'
import type { Snapshot } from '../../../../src/packs/snapshot.js'
import { collecting, pushed, pushMany } from '../../../support/collections.js'
import { dice } from '../../../support/dice.js'
import { cloneRequest, move, never, openDomain, slices, type Domain } from '../../../support/domain.js'
import { git } from '../../../support/git.js'
import { Mirror, refsOf } from '../../../support/mirrored-repo.js'
import { randomRepo } from '../../../support/random-repo.js'

const work = { slices: slices() }

const lines = async (cwd: string, ...args: string[]): Promise<string[]> => (await git(args, { cwd })).stdout.toString().split('\n').filter(Boolean)

const closureOf = async (cwd: string, tips: readonly string[]): Promise<Set<string>> =>
  new Set(tips.length === 0 ? [] : await lines(cwd, 'rev-list', '--objects', '--no-object-names', ...tips))

function namesIn(view: PackView, { commits, tags, trees, blobs }: ObjectSet): string[] {
  const oid = Buffer.alloc(20)
  return [commits, tags, trees, blobs].flatMap((list) =>
    [...list.view()].map((entry) => {
      view.oidOf(entry, oid)
      return oid.toString('hex')
    }),
  )
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}

async function bitmapsOf(domain: Domain, view: Snapshot): Promise<ReachBitmaps> {
  const kept = new KeptBitmaps({
    store: domain.store,
    maxBytes: 2 ** 26,
    onFailed: (_repoId, error) => {
      throw error
    },
  })
  return openBitmaps(view, (await kept.load(view))!)
}

/** A client that has all of these and nothing else. */
async function clientWith(source: string, cwd: string, haves: readonly string[]): Promise<void> {
  await git(['init', '-q', '--bare', cwd])
  if (haves.length === 0) return
  const { stdout } = await git(['pack-objects', '--revs', '--stdout', '-q'], { cwd: source, input: Buffer.from(`${haves.join('\n')}\n`) })
  await git(['index-pack', '--stdin'], { cwd, input: stdout })
}

const sorted = (names: Iterable<string>): string => [...names].toSorted().join(' ')

for (const seed of [1, 2, 3]) {
  t.test(`history ${seed}: what is sent is the same with bitmaps and without, and git says so`, async (t) => {
    const random = dice(seed * 7919)
    const source = join(t.testdir(), 'source')
    await mkdir(source)
    await git(['init', '-q', '--bare', '.'], { cwd: source })
    const grown = randomRepo(source, random)
    const domain = await openDomain(t)
    const repo = await domain.makeRepo(`random-${seed}`)
    const mirror = new Mirror(domain, repo, source)
    await grown.grow(400)
    await mirror.push()
    t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })).outcome, 'collected')
    for (let push = 0; push < 6; push++) {
      await grown.grow(1 + random(8))
      await mirror.push()
    }
    const view = await domain.packs.openSnapshot(repo.id)
    t.teardown(() => view.release())
    const bitmaps = await bitmapsOf(domain, view)
    const tips = (await refsOf(source)).map(([, oid]) => oid)
    const commits = await lines(source, 'rev-list', '--all')
    const pick = (most: number, from: readonly string[]) => Array.from({ length: random(most + 1) }, () => from[random(from.length)]!)
    for (let query = 0; query < 12; query++) {
      const wants = [...new Set(query === 0 ? tips : [tips[random(tips.length)]!, ...pick(4, tips), ...pick(1, commits)])]
      const haves = query % 3 === 0 ? [] : [...new Set([...pick(3, commits), ...pick(1, tips)])]
      const request: PackRequest = cloneRequest(wants, { haves, includeTag: query % 2 === 0 })
      const had = await closureOf(source, haves)
      const expected = [...(await closureOf(source, wants))].filter((oid) => !had.has(oid))
      const plain = { ...request, includeTag: false }
      const name = `query ${query}`
      t.equal(sorted(namesIn(view, await enumerateByBitmaps(view, plain, work, bitmaps))), sorted(expected), name)
      const [walked, found] = [await enumerateObjects(view, request, work), await enumerateObjects(view, request, work, { bitmaps })]
      const more = (set: ObjectSet) => sorted(namesIn(view, set).filter((oid) => !had.has(oid)))
      t.equal(more(found), more(walked), `${name}: with tags`)

      const client = join(t.testdirName, `client-${query}`)
      await clientWith(source, client, haves)
      const set = await enumerateByBitmaps(view, request, work, bitmaps)
      if (query === 0) t.same(set.whole, [bitmaps.order.entryOfBit(0) / 2 ** 32], 'all of the history goes out as it stands')
      const pack = await bytesOf(writePack(view, request, set, work))
      await git(['index-pack', '--stdin', '--fix-thin', '--strict'], { cwd: client, input: pack })
      t.equal(sorted(await closureOf(client, wants)), sorted(await closureOf(source, wants)), `${name}: all of it has arrived`)
      await git(['index-pack', '--stdin', '--fix-thin'], { cwd: client, input: await bytesOf(answerPack(view, request, work, bitmaps)) })
    }
  })
}

t.test('what is sent leans on what the client has, only for who can take it', async (t) => {
  const domain = await openDomain(t)
  const { repo, work: tree, last } = await pushMany(domain, 'thin', 8, t.testdir())
  await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })
  const next = await tree.commit({ 'a.txt': `${'line\n'.repeat(200)}next\n` })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await tree.pack(next, `^${last}`) })
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const bitmaps = await bitmapsOf(domain, view)
  const request = cloneRequest([next], { haves: [await tree.rev(`${next}~4`)] })
  const set = await enumerateByBitmaps(view, request, work, bitmaps)
  t.equal(set.count, 4 * 3 + 3, 'a commit, a tree and a file or two each')
  const thin = await bytesOf(writePack(view, request, set, work))
  const full = await bytesOf(
    writePack(view, { ...request, thinPack: false }, await enumerateByBitmaps(view, { ...request, thinPack: false }, work, bitmaps), work),
  )
  t.ok(thin.length < full.length, `${thin.length} and ${full.length} bytes`)
  const client = join(t.testdirName, 'client')
  await git(['init', '-q', '--bare', client])
  await git(['index-pack', '--stdin'], { cwd: client, input: full })
  const other = join(t.testdirName, 'other')
  await git(['init', '-q', '--bare', other])
  const unmet = await git(['index-pack', '--stdin'], { cwd: other, input: thin, ok: false })
  t.match(unmet.stderr, /unresolved delta/)
})
