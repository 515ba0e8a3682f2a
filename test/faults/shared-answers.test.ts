/** A pack that one hub made for a clone, taken from the store by another. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { parseBlobKey } from '../../src/storage/keys.js'
import { createS3BlobStore } from '../../src/storage/s3-blob-store.js'
import { oneChunk, readWhole } from '../../src/storage/whole-bytes.js'
import { callApi } from '../support/api.js'
import { becomes } from '../support/becomes.js'
import { git } from '../support/git.js'
import { replicasMissing, startReplicas, type Replica } from '../support/replicas.js'

const skip = await replicasMissing()
const MiB = 2 ** 20
const metricsToken = 'metrics-metrics-metrics'
const home = await mkdtemp(join(tmpdir(), 'cairn-shared-'))
t.teardown(() => rm(home, { recursive: true, force: true }))

async function startPair(t: Test) {
  const hubs = await startReplicas(t, { count: 2, env: { CAIRN_METRICS_TOKEN: metricsToken } })
  const db = openDatabase({ connection: { connectionString: hubs.postgres.url() }, maxConnections: 2, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  const store = createS3BlobStore(hubs.s3.account(hubs.bucket))
  t.teardown(() => store.close())
  const [one, other] = hubs.replicas as [Replica, Replica]
  const api = callApi(one.url, () => hubs.token)
  let repos = 0

  return {
    ...hubs,
    db,
    store,
    one,
    other,
    contents: () => hubs.s3.contents(hubs.bucket),
    /** A repository of two commits with large files, so that a clone of the last one alone takes a pack made for it. */
    async pushed() {
      const repo = `admin/repo-${++repos}`
      await api('POST', '/api/cairn/repos', { id: repo, empty: true })
      const work = join(home, `work-${repos}`)
      const run = async (...args: string[]) => (await git(args, { cwd: work })).stdout.toString('utf8').trim()
      await git(['init', '-q', work])
      for (const name of ['first', 'second']) {
        await writeFile(join(work, name), randomBytes(9 * MiB))
        await run('add', '.')
        await run('commit', '-q', '-m', name)
      }
      await run('push', '-q', hubs.remote(repo, one), 'HEAD:refs/heads/main')
      return { repo, run, blob: await run('rev-parse', 'HEAD:second') }
    },
    clone(repo: string, at: Replica, into: string) {
      return git(['clone', '-q', '--bare', '--depth', '1', hubs.remote(repo, at), into], { ok: false })
    },
    async sharedKeys(repo: string) {
      const rows = await db.query<{ key: string }>(sql`
        SELECT key FROM shared_answer JOIN repositories r ON r.id = repo_id WHERE ${repo} = 'admin/' || r.name`)
      return rows.map(({ key }) => key)
    },
  }
}

/** Figures that are not 0, of metrics that begin so. */
async function figures({ url }: Replica, ...names: readonly string[]): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } })).text()
  const lines = text.split('\n').filter((line) => names.some((name) => line.startsWith(`cairn_${name}`)) && !line.endsWith(' 0'))
  return Object.fromEntries(lines.map((line) => [line.slice('cairn_'.length, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

async function packIn(clone: string): Promise<Buffer> {
  const [pack] = (await readdir(join(clone, 'objects/pack'))).filter((name) => name.endsWith('.pack'))
  return readFile(join(clone, 'objects/pack', pack!))
}

t.test('a clone that one hub made a pack for', { skip }, async (t) => {
  const hubs = await startPair(t)
  const { one, other } = hubs

  await t.test('comes from the store at another: the same bytes, no pack is made, and a purge takes it everywhere', async (t) => {
    const { repo, run, blob } = await hubs.pushed()
    const [first, second, third] = ['first', 'second', 'third'].map((name) => join(home, `taken-${name}`)) as [string, string, string]
    t.match(await hubs.clone(repo, one, first), { code: 0, stderr: '' })
    t.ok(await becomes(async () => (await figures(one, 'git_shared_answers'))['git_shared_answers_total{event="kept"}'] === 1))
    const [key] = await hubs.sharedKeys(repo)
    t.ok((await hubs.contents()).includes(key!))

    t.equal((await hubs.clone(repo, other, second)).code, 0)
    t.same(await figures(other, 'git_fetches', 'git_shared_answers'), {
      'git_fetches_total{answer="shared",outcome="sent"}': 1,
      'git_shared_answers_total{event="found"}': 1,
    })
    t.same(await figures(other, 'pack_cache_used'), {}, 'it did not even need the packs')
    t.ok((await packIn(second)).equals(await packIn(first)))
    t.equal((await readFile(join(second, 'shallow'), 'latin1')).length, 41)
    await git(['fsck', '--strict'], { cwd: second })

    await run('push', '-q', '--force', hubs.remote(repo, one), 'HEAD~1:refs/heads/main')
    const { status } = await callApi(one.url, () => hubs.token)('POST', `/api/cairn/models/${repo}/purge`, { oids: [blob] })
    t.equal(status, 200)
    t.same(await hubs.sharedKeys(repo), [])
    t.notOk((await hubs.contents()).includes(key!))
    t.same(await hubs.db.query(sql`SELECT FROM stored_blob WHERE key = ${key}`), [])
    t.equal((await hubs.clone(repo, other, third)).code, 0)
    t.not((await git(['cat-file', '-e', blob], { cwd: third, ok: false })).code, 0)
  })

  await t.test('is never taken from the store when a byte of it is another there', async (t) => {
    const { repo } = await hubs.pushed()
    const [first, second, third] = ['first', 'second', 'third'].map((name) => join(home, `wrong-${name}`)) as [string, string, string]
    t.equal((await hubs.clone(repo, one, first)).code, 0)
    t.ok(await becomes(async () => (await hubs.sharedKeys(repo)).length === 1))
    const key = parseBlobKey((await hubs.sharedKeys(repo))[0]!)
    const bytes = await readWhole(await hubs.store.open(key))
    bytes[5 * MiB]! ^= 1
    await hubs.store.put(key, oneChunk(bytes))

    t.not((await hubs.clone(repo, other, second)).code, 0)
    t.ok(await becomes(async () => (await figures(other, 'git_shared_answers'))['git_shared_answers_total{event="wrong"}'] === 1))
    t.ok(await becomes(async () => (await hubs.sharedKeys(repo)).length === 0))
    t.ok(await becomes(async () => !(await hubs.contents()).includes(key)))
    t.equal((await hubs.clone(repo, other, third)).code, 0)
    await git(['fsck', '--strict'], { cwd: third })
    t.ok(await becomes(async () => (await hubs.sharedKeys(repo)).length === 1), 'and is there again')
  })
})
