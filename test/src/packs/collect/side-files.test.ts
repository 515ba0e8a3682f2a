import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sql } from '../../../../src/db/sql.js'
import { createCollector } from '../../../../src/kept/collect.js'
import { CommitGraph } from '../../../../protocol/graph/commit-graph.js'
import { classify, type Classify } from '../../../../src/packs/collect/classify.js'
import { createPurgePacks } from '../../../../src/packs/collect/purge.js'
import { makeSideFiles } from '../../../../src/packs/collect/side-files.js'
import { createPackJobs } from '../../../../src/packs/workers/pack-jobs.js'
import { PackWorkers } from '../../../../src/packs/workers/pool.js'
import { addingSideFiles, cloneObjects, collecting, meanwhile, packRows, pushed, pushMany } from '../../../support/collections.js'
import { create, move, never, openDomain, slices, type Domain } from '../../../support/domain.js'
import { git } from '../../../support/git.js'
import { indexedByGit } from '../../../support/packs.js'
import { layOutStored, pushHistory } from '../../../support/stored-repo.js'

const options = { signal: never }
const split = { splitBytes: 1 }

const links = (domain: Domain, repoId: number) =>
  domain.db.query<{ kind: string; part: string; state: string }>(sql`
    SELECT l.kind, p.part, p.state FROM blob_link l JOIN packs p ON p.id = l.pack_id
    WHERE l.repo_id = ${repoId} AND l.kind IN ('midx', 'bitmap', 'graph') ORDER BY p.id, l.kind`)
const three = (state: string) => ['bitmap', 'graph', 'midx'].map((kind) => ({ kind, part: 'meta', state }))
const packsVer = async (domain: Domain, repoId: number) =>
  (await domain.db.query<{ packs_ver: number }>(sql`SELECT packs_ver FROM repositories WHERE id = ${repoId}`))[0]!.packs_ver

t.test('C git verifies and uses what a collection leaves beside the packs', async (t) => {
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t)
  const source = join(t.testdir(), 'source')
  const repo = await pushHistory(domain, 'verified', 1_200, source)
  const jobs = createPackJobs(workers, domain.spool)
  const added = addingSideFiles(domain, { makeSideFiles: jobs.makeSideFiles })
  const { copyPack, classify: classifyThere } = jobs
  const collect = collecting(domain, { ...split, copyPack, classify: classifyThere, addSideFiles: added })
  t.equal((await collect(repo.id, options)).outcome, 'collected')
  t.same(await links(domain, repo.id), three('live'))

  const bare = join(t.testdirName, 'stored')
  await layOutStored(domain, repo.id, bare)
  const packs = (await readdir(join(bare, 'objects', 'pack'))).filter((name) => name.endsWith('.idx'))
  t.equal(packs.length, 2)
  for (const name of packs) {
    await git(['verify-pack', join('objects', 'pack', name)], { cwd: bare })
    const stored = (kind: string): Promise<Buffer> => readFile(join(bare, 'objects', 'pack', name.replace('.idx', kind)))
    const theirs = await indexedByGit(await stored('.pack'))
    t.ok(theirs.idx.equals(await stored('.idx')), 'the index is what C git makes of the pack')
    t.ok(theirs.rev.equals(await stored('.rev')))
  }
  await git(['fsck', '--strict', '--full'], { cwd: bare })
  await git(['multi-pack-index', 'verify'], { cwd: bare })
  await git(['commit-graph', 'verify'], { cwd: bare })
  for (const name of ['main', 'side']) {
    const { stderr } = await git(['rev-list', '--test-bitmap', name], { cwd: bare })
    t.match(stderr, /OK!/, name)
  }
  const counted = await git(['rev-list', '--objects', '--count', '--use-bitmap-index', '--all'], { cwd: bare })
  const theirs = await git(['rev-list', '--objects', '--count', '--all'], { cwd: source })
  t.equal(counted.stdout.toString(), theirs.stdout.toString())
  const clone = join(t.testdirName, 'clone')
  await git(['-c', 'pack.useBitmaps=true', 'clone', '-q', '--mirror', `file://${bare}`, clone])
  await git(['fsck', '--strict'], { cwd: clone })
  t.equal((await git(['for-each-ref'], { cwd: clone })).stdout.toString(), (await git(['for-each-ref'], { cwd: source })).stdout.toString())
})

t.test('a worker makes the same files as this thread', async (t) => {
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t)
  const { repo, last } = await pushMany(domain, 'alike', 4, t.testdir())
  await collecting(domain, split)(repo.id, options)
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const request = { pair: { meta: 0, blobs: 1 }, metaSha1: '1'.repeat(40), blobsSha1: '2'.repeat(40), tips: [last as never] }
  const here = await makeSideFiles(view, request, { slices: slices() })
  const there = await createPackJobs(workers, domain.spool).makeSideFiles(view, request, { slices: slices() })
  for (const kind of ['midx', 'bitmap', 'graph'] as const) {
    t.ok(Buffer.from(there[kind].bytes).equals(here[kind].bytes), kind)
    t.ok(Buffer.from(there[kind].sha256).equals(here[kind].sha256), kind)
  }
})

t.test('the commit graph of a collection is that of its packs; one that knows more is not taken for it', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'graphs', 4, t.testdir())
  let handed: Uint8Array | undefined
  const addSideFiles = async (_repoId: number, { commitGraph }: { commitGraph?: Uint8Array | undefined }) => void (handed = commitGraph)
  await collecting(domain, { ...split, addSideFiles })(repo.id, options)
  const view = await domain.packs.openSnapshot(repo.id)
  t.teardown(() => view.release())
  const request = { pair: { meta: 0, blobs: 1 }, metaSha1: '1'.repeat(40), blobsSha1: '2'.repeat(40), tips: [last as never] }
  const made = await makeSideFiles(view, request, { slices: slices() })
  t.ok(Buffer.from(handed!).equals(made.graph.bytes))
  t.same((await makeSideFiles(view, { ...request, commitGraph: handed }, { slices: slices() })).bitmap, made.bitmap)

  const next = await work.commit({ more: 'x' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  const later = await domain.packs.openSnapshot(repo.id)
  const { commitGraph } = await classify(later, { tips: [[next as never], [], []], garbage: [], commitGraph: true }, { slices: slices() })
  later.release()
  t.same(await makeSideFiles(view, { ...request, commitGraph }, { slices: slices() }), made)
})

t.test('a later collection goes by the commit graph of the last, and does without it', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'later', 4, t.testdir())
  let [seen, tip] = [[] as (number | undefined)[], last]
  const watched: Classify = (view, request, work_) => {
    seen = [...seen, request.knownGraph && CommitGraph.open(request.knownGraph).count]
    return classify(view, request, work_)
  }
  const push = async (): Promise<void> => {
    const next = await work.commit({ 'a.txt': `after ${tip}` })
    await pushed(domain, repo, { commands: [move('refs/heads/main', tip, next)], pack: await work.pack(next, `^${tip}`) })
    tip = next
  }
  const collect = async () => (await collecting(domain, { ...split, classify: watched })(repo.id, options)).outcome
  t.equal(await collect(), 'collected')
  await push()
  t.equal(await collect(), 'collected')
  await push()
  for (const name of await readdir(domain.blobDirectory, { recursive: true })) {
    if (name.endsWith('.graph')) await writeFile(join(domain.blobDirectory, name), 'rotten')
  }
  t.equal(await collect(), 'collected')
  t.same(seen, [undefined, 4, undefined])
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'clone')), tip)
  t.match(await packRows(domain, repo.id).then((rows) => rows.filter(({ state }) => state === 'live')), [{ objects: 12 }, { objects: 10 }])
})

t.test('what fails leaves the repository as it is, and the next collection makes it', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'failing', 3, t.testdir())
  const failures: unknown[] = []
  const broken = addingSideFiles(domain, {
    makeSideFiles: () => Promise.reject(new Error('no memory')),
    onFailed: (repoId, error) => failures.push([repoId, String(error)]),
  })
  t.equal((await collecting(domain, { ...split, addSideFiles: broken })(repo.id, options)).outcome, 'collected')
  t.same(failures, [[repo.id, 'Error: no memory']])
  t.same(await links(domain, repo.id), [])
  const before = await packsVer(domain, repo.id)
  t.equal((await collecting(domain, split)(repo.id, options)).outcome, 'unchanged')
  t.same(await links(domain, repo.id), three('live'))
  t.equal(await packsVer(domain, repo.id), before + 1)
  t.equal((await collecting(domain, split)(repo.id, options)).outcome, 'unchanged')
  t.equal(await packsVer(domain, repo.id), before + 1, 'what is there is not made again')
})

t.test('a dry run makes none; a repository of one pack has none', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'dry', 3, t.testdir())
  await collecting(domain)(repo.id, options)
  t.same(await links(domain, repo.id), [])
  await collecting(domain, split)(repo.id, { ...options, dryRun: true })
  t.same(await links(domain, repo.id), [])
})

t.test('packs that are replaced before the files are done have none', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'overtaken', 3, t.testdir())
  const slow = addingSideFiles(domain, {
    makeSideFiles: async (...args) => {
      const next = await work.commit({ next: 'one' })
      await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
      t.equal((await collecting(domain, split)(repo.id, options)).outcome, 'collected')
      return makeSideFiles(...args)
    },
  })
  await collecting(domain, { ...split, addSideFiles: slow })(repo.id, options)
  t.same(await links(domain, repo.id), three('live'), 'those of the later collection alone')
})

t.test('a push between the look at the refs and the files does no harm', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'pushed', 3, t.testdir())
  const next = await work.commit({ next: 'one' })
  const pack = await work.pack(next, `^${last}`)
  const packs = meanwhile(domain.packs, () => pushed(domain, repo, { commands: [create('refs/heads/later', next)], pack }))
  t.equal((await collecting(domain, { ...split, packs })(repo.id, options)).outcome, 'collected')
  t.same(await links(domain, repo.id), three('live'))
})

t.test('the files go with the packs they are about: once these are out of use, or at once by a purge', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'going', 3, t.testdir())
  await collecting(domain, split)(repo.id, options)
  const next = await work.commit({ next: 'one' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  await collecting(domain, split)(repo.id, options)
  t.same(await links(domain, repo.id), [...three('retired'), ...three('live')])
  const keys = async () =>
    (await domain.db.query<{ key: string }>(sql`SELECT key FROM stored_blob WHERE key ~ '(midx|bitmap|graph)$'`)).map(({ key }) => key)
  t.equal((await keys()).length, 6)
  const blobs = createCollector({ ...domain, unusedGraceMs: 1e9, doomedGraceMs: 1e9, storeTimeoutMs: 1000 })
  const purge = createPurgePacks({ packs: domain.packs, collectPacks: collecting(domain, split), forgetPurged: async () => undefined, blobs })
  await purge(repo.id, { mustGo: [], signal: never })
  t.same(await links(domain, repo.id), three('live'))
  t.equal((await keys()).length, 3)
  t.equal((await packRows(domain, repo.id)).filter(({ state }) => state === 'live').length, 2)
})
