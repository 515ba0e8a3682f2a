import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { answerPack } from '../../../../protocol/pack/writer.js'
import { KeptBitmaps } from '../../../../src/packs/bitmaps/kept-bitmaps.js'
import { OpenBitmaps } from '../../../../src/packs/bitmaps/open-bitmaps.js'
import type { Snapshot } from '../../../../src/packs/snapshot.js'
import { createPackJobs } from '../../../../src/packs/workers/pack-jobs.js'
import { PackWorkers } from '../../../../src/packs/workers/pool.js'
import { readWhole } from '../../../../src/storage/whole-bytes.js'
import { sidecarKey } from '../../../../src/storage/keys.js'
import { collecting, pushed, pushMany } from '../../../support/collections.js'
import { cloneRequest, move, never, openDomain, slices } from '../../../support/domain.js'
import { watchStore } from '../../../support/watched-store.js'

const domain = await openDomain(t)
const folder = t.testdir()

/** A repository that was collected, and pushed to after that. */
async function collectedRepo(name: string, commits: number): Promise<{ id: number; next: string; view: () => Promise<Snapshot> }> {
  const { repo, work, last } = await pushMany(domain, name, commits, folder)
  await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })
  const next = await work.commit({ 'a.txt': 'later' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  return { id: repo.id, next, view: () => domain.packs.openSnapshot(repo.id) }
}

const [one, two] = [await collectedRepo('one', 4), await collectedRepo('two', 5)]

async function opened(t: Test, repo: typeof one): Promise<{ view: Snapshot; path: string }> {
  const view = await repo.view()
  t.teardown(() => view.release())
  const { sideFiles } = view.packs.find(({ part }) => part === 'meta')!
  return { view, path: join(domain.blobDirectory, sidecarKey(sideFiles!.bitmap, 'bitmap')) }
}

/** Has a stored file be another, for one test. */
async function spoiling(t: Test, path: string): Promise<void> {
  await copyFile(path, join(folder, 'saved'))
  t.teardown(() => copyFile(join(folder, 'saved'), path))
}

function keeping(options: Partial<ConstructorParameters<typeof KeptBitmaps>[0]> = {}) {
  const failures: string[] = []
  const onFailed = (repoId: number, error: unknown) => failures.push(`${repoId}: ${(error as Error).message}`)
  return { kept: new KeptBitmaps({ store: domain.store, maxBytes: 2 ** 20, onFailed, ...options }), failures }
}

t.test('bitmaps are read once for all who ask, and answer in a worker as they do here', async (t) => {
  const { view, path } = await opened(t, one)
  const watched = watchStore(domain.store as never)
  const { kept, failures } = keeping({ store: watched.store })
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  let loads = 0
  const jobs = createPackJobs(workers, domain.spool, (of) => {
    loads += 1
    return kept.load(of)
  })
  const request = cloneRequest([one.next], { includeTag: true })
  const there = await Promise.all([1, 2, 3].map(() => readWhole(jobs.answer(view, request, { slices: slices() }))))
  const loaded = (await kept.load(view))!
  const here = await readWhole(answerPack(view, request, { slices: slices() }, new OpenBitmaps().open(view, loaded)))
  for (const answer of there) t.ok(answer.equals(here))
  t.same([loads, ...watched.opened.values()], [3, 1])
  t.equal(kept.bytes, (await readFile(path)).length)
  await readWhole(jobs.answer(view, { ...request, filter: { blobBytes: 0, treeDepth: Number.POSITIVE_INFINITY } }, { slices: slices() }))
  t.equal(loads, 3, 'not where they are of no use')
  t.same(failures, [])
})

t.test('without a collection there are none', async (t) => {
  const { repo } = await pushMany(domain, 'none', 2, folder)
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  t.equal(await keeping().kept.load(view), undefined)
})

for (const [what, spoil, complaint] of [
  ['missing', (path: string) => rm(path), /is not in the store/],
  ['cut off', async (path: string) => writeFile(path, (await readFile(path)).subarray(0, 50)), /does not read back/],
  ['another', async (path: string) => writeFile(path, (await readFile(path)).fill(1, 40, 44)), /does not read back/],
] as const) {
  t.test(`a file that is ${what} is left aside, said once, and looked for again later`, async (t) => {
    const { view, path } = await opened(t, one)
    await spoiling(t, path)
    await spoil(path)
    const { kept, failures } = keeping()
    t.same(await Promise.all([kept.load(view), kept.load(view)]), [undefined, undefined])
    t.equal(await kept.load(view), undefined)
    t.equal(failures.length, 1)
    t.match(failures[0], complaint)
    t.equal(kept.bytes, 0)
    await copyFile(join(folder, 'saved'), path)
    t.equal(await kept.load(view), undefined, 'not yet')
    const impatient = keeping({ retryMs: 0 })
    await rm(path)
    t.equal(await impatient.kept.load(view), undefined)
    await copyFile(join(folder, 'saved'), path)
    t.ok(await impatient.kept.load(view))
  })
}

t.test('a file about other packs is left aside', async (t) => {
  const [mine, theirs] = [await opened(t, one), await opened(t, two)]
  const lying = Object.assign(Object.create(mine.view) as Snapshot, {
    packs: mine.view.packs.map((pack) => ({
      ...pack,
      sideFiles: pack.sideFiles && theirs.view.packs.find(({ part }) => part === 'meta')!.sideFiles,
    })),
  })
  const { kept, failures } = keeping()
  t.equal(await kept.load(lying), undefined)
  t.equal(failures.length, 1)
})

t.test('they have so much memory and no more', async (t) => {
  const [first, second] = [await opened(t, one), await opened(t, two)]
  const [firstBytes, secondBytes] = [(await readFile(first.path)).length, (await readFile(second.path)).length]
  const { kept, failures } = keeping({ maxBytes: Math.max(firstBytes, secondBytes) })
  t.ok(await kept.load(first.view))
  t.equal(kept.bytes, firstBytes)
  t.ok(await kept.load(second.view))
  t.equal(kept.bytes, secondBytes)
  t.same(failures, [])
  const small = keeping({ maxBytes: 100 })
  t.equal(await small.kept.load(first.view), undefined)
  t.match(small.failures[0], /over the limit of 100/)
})
