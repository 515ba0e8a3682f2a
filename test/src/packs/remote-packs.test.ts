/** Pushes and fetches over a store that has no files: what is fetched, when, and what becomes of it. */
import { randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PackRequest } from '../../../protocol/ports.js'
import { packOf } from '../../../protocol/ports.js'
import { createAnswers, type Answers } from '../../../src/packs/answers.js'
import type { Snapshot } from '../../../src/packs/snapshot.js'
import { createPackJobs } from '../../../src/packs/workers/pack-jobs.js'
import { PackWorkers } from '../../../src/packs/workers/pool.js'
import { becomes } from '../../support/becomes.js'
import { cloneRequest, create, move, openDomain, slices, workTree, type Domain, type WorkTree } from '../../support/domain.js'
import { git } from '../../support/git.js'

const KiB = 1024
const folder = t.testdir()
const work = await workTree(folder)

async function packed(answers: Answers, view: Snapshot, asked: PackRequest, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of answers.answerFor('user 1')(view, asked, { slices: slices(signal) })) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Git takes the pack, and has everything that the commit needs. */
async function isWhole(pack: Buffer, oid: string): Promise<boolean> {
  const bare = join(work.cwd, `probe-${Math.random()}.git`)
  await git(['init', '-q', '--bare', bare])
  await git(['index-pack', '--stdin', '--strict'], { cwd: bare, input: pack })
  await git(['update-ref', 'refs/heads/main', oid], { cwd: bare })
  await git(['fsck', '--connectivity-only'], { cwd: bare })
  await rm(bare, { recursive: true })
  return true
}

interface Pushed {
  readonly repoId: number
  readonly tip: string
  /** The packs of the pushes, oldest first. */
  readonly packs: readonly Buffer[]
}

/** A repository of several pushes, each a pack of about as many bytes in the store. */
async function pushed(domain: Domain, name: string, source: WorkTree, packs: number, bytes: number): Promise<Pushed> {
  let tip: string | undefined
  const sent: Buffer[] = []
  await domain.makeRepo(name)
  for (let i = 0; i < packs; i++) {
    const next = await source.commit({ [`${name}-${i}`]: randomBytes(bytes) })
    const pack = await source.pack(next, ...(tip ? [`^${tip}`] : []))
    sent.push(pack)
    const repo = await domain.current(name)
    const [result] = await domain.push(repo, { commands: [tip ? move('refs/heads/main', tip, next) : create('refs/heads/main', next)], pack })
    if (result?.kind !== 'ok') throw new Error(JSON.stringify(result))
    tip = next
  }
  return { repoId: (await domain.current(name)).id, tip: tip!, packs: sent }
}

function bytesIn(folder: string): number {
  let bytes = 0
  for (const name of readdirSync(folder, { recursive: true }) as string[]) {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false })
    if (stats?.isFile()) bytes += stats.size
  }
  return bytes
}

const fetchedPacks = ({ remote }: Domain): number =>
  [...remote!.watched.opened].filter(([key]) => key.startsWith('packs/')).reduce((sum, [, n]) => sum + n, 0)

/** As on another replica: nothing is here. */
async function emptyCache({ remote }: Domain): Promise<void> {
  await rm(join(remote!.cacheDirectory, 'packs'), { recursive: true, force: true })
  remote!.watched.opened.clear()
}

t.test('what was pushed here is read here without a download', async (t) => {
  const domain = await openDomain(t, { cacheBytes: 100_000 * KiB })
  const answers = createAnswers({ answerBytes: 1024 })
  const { repoId, tip, packs } = await pushed(domain, 'here', await workTree(folder), 1, 3_000 * KiB)
  const view = await domain.packs.openSnapshot(repoId)
  t.ok((await packed(answers, view, cloneRequest([tip]))).equals(packs[0]!))
  const entry = view.find(Buffer.from(tip, 'hex'), 'credit')
  t.ok((await view.read(packOf(entry), view.offsetOf(entry), view.endOf(entry))).length > 0)
  view.release()
  t.equal(fetchedPacks(domain), 0)
  t.equal(bytesIn(domain.remote!.cacheDirectory), packs[0]!.length)
})

t.test('a clone that is a stored pack goes out while the pack comes in, and opening a snapshot fetches nothing', async (t) => {
  const domain = await openDomain(t, { cacheBytes: 100_000 * KiB })
  const answers = createAnswers({ answerBytes: 1024 })
  const { repoId, tip, packs } = await pushed(domain, 'tee', await workTree(folder), 1, 5_000 * KiB)
  await emptyCache(domain)
  const { watched } = domain.remote!
  const rest = Promise.withResolvers<void>()
  watched.pace = (key, at) => (key.startsWith('packs/') && at > 3_000 * KiB ? rest.promise : undefined)
  const views = await Promise.all(Array.from({ length: 20 }, () => domain.packs.openSnapshot(repoId)))
  t.equal(fetchedPacks(domain), 0)
  const answer = answers.answerFor('user 1')(views[0]!, cloneRequest([tip]), { slices: slices() })
  const stream = answer[Symbol.asyncIterator]()
  t.ok(((await stream.next()) as IteratorYieldResult<Uint8Array>).value.length > 0, 'there are bytes before the pack is here')
  const others = views.slice(1).map((view) => packed(answers, view, cloneRequest([tip])))
  await stream.return?.()
  views[0]!.release()
  rest.resolve()
  for (const pack of await Promise.all(others)) t.ok(pack.equals(packs[0]!))
  for (const view of views.slice(1)) view.release()
  t.equal(fetchedPacks(domain), 1)
})

t.test('bytes that are others than were stored reach nobody as a pack', async (t) => {
  const domain = await openDomain(t, { cacheBytes: 100_000 * KiB })
  const { repoId, tip } = await pushed(domain, 'spoiled', await workTree(folder), 2, 1_500 * KiB)
  await emptyCache(domain)
  const { watched, cacheDirectory, cache } = domain.remote!
  watched.spoil = (chunk, at) => (at === 0 ? Buffer.concat([chunk.subarray(0, 100), Buffer.from([chunk[100]! ^ 1]), chunk.subarray(101)]) : chunk)
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  for (const jobs of [{}, { jobs: createPackJobs(workers, domain.spool) }]) {
    const answers = createAnswers({ answerBytes: 1024, ...jobs })
    const view = await domain.packs.openSnapshot(repoId)
    await t.rejects(packed(answers, view, cloneRequest([tip])), { code: 'corrupt' })
    const entry = view.find(Buffer.from(tip, 'hex'), 'credit')
    await t.rejects(view.read(packOf(entry), view.offsetOf(entry), view.endOf(entry)), { code: 'corrupt' })
    view.release()
  }
  t.ok(await becomes(() => cache.usedBytes === 0))
  t.equal(bytesIn(cacheDirectory), 0)
})

t.test('a worker asks for the packs it reads, and one that cannot come fails the job', async (t) => {
  const workers = new PackWorkers({ size: 2 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t, { cacheBytes: 100_000 * KiB }, workers)
  const answers = createAnswers({ answerBytes: 1024, jobs: createPackJobs(workers, domain.spool) })
  const source = await workTree(folder)
  const { repoId, tip } = await pushed(domain, 'asked', source, 4, 200 * KiB)
  const parent = await source.rev('HEAD~1')
  await emptyCache(domain)
  const view = await domain.packs.openSnapshot(repoId)
  const newest = await packed(answers, view, cloneRequest([tip], { haves: [parent] }))
  t.ok(newest.length > 200 * KiB && newest.length < 300 * KiB)
  t.ok(await isWhole(await packed(answers, view, cloneRequest([tip])), tip))
  t.equal(fetchedPacks(domain), 4)
  view.release()
  await emptyCache(domain)
  const again = await domain.packs.openSnapshot(repoId)
  const filter = { blobBytes: 0, treeDepth: Number.POSITIVE_INFINITY }
  const lazy = await packed(answers, again, cloneRequest([await source.rev(`${tip}:asked-1`)], { filter }))
  t.ok(lazy.length > 200 * KiB && lazy.length < 300 * KiB)
  t.equal(fetchedPacks(domain), 1, 'what a partial clone fetches later needs the pack it lies in')
  again.release()
  await emptyCache(domain)
  const next = await source.commit({ next: 'small' })
  const thin = await source.pack(next, `^${tip}`)
  const [result] = await domain.push(await domain.current('asked'), { commands: [create('refs/heads/next', next)], pack: thin })
  t.equal(result?.kind, 'ok')
  t.ok(fetchedPacks(domain) <= 1, 'a push needs at most the pack its deltas build on')
  await emptyCache(domain)
  domain.remote!.watched.spoil = () => {
    throw new Error('the store is away')
  }
  const other = await domain.packs.openSnapshot(repoId)
  await t.rejects(packed(answers, other, cloneRequest([tip], { haves: [parent] })), { message: /the store is away/ })
  other.release()
})

t.test('a client that leaves while a worker waits for a pack leaves nothing running', async (t) => {
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  const domain = await openDomain(t, { cacheBytes: 100_000 * KiB }, workers)
  const answers = createAnswers({ answerBytes: 1024, jobs: createPackJobs(workers, domain.spool) })
  const source = await workTree(folder)
  const { repoId, tip } = await pushed(domain, 'left', source, 3, 200 * KiB)
  const parent = await source.rev('HEAD~1')
  await emptyCache(domain)
  const { watched, cache } = domain.remote!
  const stuck = Promise.withResolvers<void>()
  watched.pace = (key) => (key.startsWith('packs/') ? stuck.promise : undefined)
  for (const haves of [[], [parent]]) {
    const view = await domain.packs.openSnapshot(repoId)
    const gone = new AbortController()
    const fetching = packed(answers, view, cloneRequest([tip], { haves }), gone.signal)
    await becomes(() => fetchedPacks(domain) > 0)
    gone.abort()
    await t.rejects(fetching, { code: 'cancelled' })
    view.release()
    t.ok(await becomes(() => bytesIn(domain.remote!.cacheDirectory) === 0))
    watched.opened.clear()
  }
  stuck.resolve()
  const view = await domain.packs.openSnapshot(repoId)
  t.ok(await isWhole(await packed(answers, view, cloneRequest([tip])), tip))
  view.release()
  t.ok(cache.usedBytes > 600 * KiB)
})

t.test('clones and pages of repositories that do not fit together all end well, within the bound', async (t) => {
  const workers = new PackWorkers({ size: 2 })
  t.teardown(() => workers.close())
  const cacheBytes = 1_500 * KiB
  const domain = await openDomain(t, { cacheBytes, tableBytes: 1 }, workers)
  const answers = createAnswers({ answerBytes: 1024, jobs: createPackJobs(workers, domain.spool) })
  const repos = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => pushed(domain, name, await workTree(folder), 3, 200 * KiB)))
  const { cacheDirectory, cache, watched } = domain.remote!
  watched.pace = () => (Math.random() < 0.3 ? sleep(3) : undefined)
  let most = 0
  const watching = setInterval(() => {
    most = Math.max(most, bytesIn(cacheDirectory))
  }, 2)
  t.teardown(() => clearInterval(watching))
  const client = async (number: number) => {
    for (let i = 0; i < 6; i++) {
      const { repoId, tip } = repos[(number + i) % repos.length]!
      const view = await domain.packs.openSnapshot(repoId)
      if ((number + i) % 3 === 0) {
        const entry = view.find(Buffer.from(tip, 'hex'), 'credit')
        await view.read(packOf(entry), view.offsetOf(entry), view.endOf(entry))
      } else {
        await isWhole(await packed(answers, view, cloneRequest([tip])), tip)
      }
      view.release()
    }
  }
  await Promise.all(Array.from({ length: 6 }, (_, i) => client(i)))
  t.comment(JSON.stringify({ most, fetched: fetchedPacks(domain) }))
  t.ok(most <= cacheBytes && most > cacheBytes / 2)
  t.ok(fetchedPacks(domain) > 12, 'packs have come and gone')
  t.ok(await becomes(() => cache.usedBytes === bytesIn(cacheDirectory)))
})
