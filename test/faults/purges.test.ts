/** What one hub purges, others let go of: at once when they hear of it, soon when they do not. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openDatabase, type Database } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { callApi } from '../support/api.js'
import { becomes } from '../support/becomes.js'
import { git } from '../support/git.js'
import { replicasMissing, startReplicas, type Replica, type Replicas } from '../support/replicas.js'
import { openSlowWire } from '../support/tools/slow-wire.js'
import { openTcpGate, type TcpGate } from '../support/tools/tcp-gate.js'

const missing = await replicasMissing()
const MiB = 2 ** 20
const home = await mkdtemp(join(tmpdir(), 'cairn-purges-'))
t.teardown(() => rm(home, { recursive: true, force: true }))

interface Pair extends Replicas {
  readonly here: Replica
  readonly there: Replica
  /** Past which both reach the server itself; the pool does not go through it. */
  readonly gate: TcpGate
  readonly db: Database
}

async function startPair(t: Test): Promise<Pair> {
  const gates: TcpGate[] = []
  const hubs = await startReplicas(t, {
    count: 2,
    databaseEnv: async (postgres) => {
      const gate = await openTcpGate(t, `http://127.0.0.1:${postgres.port}`)
      gates.push(gate)
      return { DATABASE_DIRECT_URL: postgres.url({ port: Number(new URL(gate.url).port) }) }
    },
  })
  const db = openDatabase({ connection: { connectionString: hubs.postgres.url() }, maxConnections: 2, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  const [here, there] = hubs.replicas as [Replica, Replica]
  return { ...hubs, here, there, gate: gates[0]!, db }
}

interface Leak {
  readonly repo: string
  /** Takes the leaked commit out of the branch and purges it, both `here`. */
  readonly purge: () => Promise<void>
  /** Where `there` keeps the pack that has it. */
  readonly cached: string
}

/** A repository with a large file that should not be there, and both hubs have its pack. */
async function leak({ here, there, remote, db }: Pair, name: string): Promise<Leak> {
  const repo = `admin/${name}`
  const api = callApi(here.url, () => `hf_${'r'.repeat(34)}`)
  await api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const work = join(home, name)
  const run = async (...args: string[]) => (await git(args, { cwd: work })).stdout.toString('utf8').trim()
  await git(['init', '-q', work])
  await run('commit', '-q', '--allow-empty', '-m', 'clean')
  const clean = await run('rev-parse', 'HEAD')
  for (let i = 0; i < 4; i++) await writeFile(join(work, `secret-${i}`), randomBytes(9 * MiB))
  await run('add', '.')
  await run('commit', '-q', '-m', 'oops')
  await run('push', '-q', remote(repo, here), 'HEAD:refs/heads/main')
  const secret = await run('rev-parse', 'HEAD:secret-0')
  await git(['clone', '-q', '--bare', remote(repo, there), join(home, `${name}-whole`)])
  const [pack] = await db.query<{ name: string }>(sql`SELECT encode(sha256, 'hex') AS name FROM packs WHERE bytes > 30000000 AND state = 'live'
    AND repo_id = (SELECT id FROM repositories r WHERE r.name = ${name})`)
  return {
    repo,
    cached: join(there.dataDirectory, 'cache/packs', pack!.name.slice(0, 2), `${pack!.name}.pack`),
    async purge() {
      await run('push', '-q', '--force', remote(repo, here), `${clean}:refs/heads/main`)
      const { status } = await api('POST', `/api/cairn/models/${repo}/purge`, { oids: [secret] })
      if (status !== 200) throw new Error(`purge answered ${status}`)
    },
  }
}

/** A clone of `there` at that pace, which has begun to get its pack. */
async function slowClone(t: Test, { there, remote }: Pair, { repo }: Leak, bytesPerSecond: number) {
  const wire = await openSlowWire(t, there.url, bytesPerSecond)
  const done = git(['clone', '-q', '--bare', remote(repo, { ...there, url: wire.url }), t.testdir()], { ok: false })
  t.ok(await becomes(() => wire.bytes > 0.5 * MiB), 'the clone gets its pack')
  return { wire, done }
}

t.test('another hub cuts a clone that has begun, and its cache has nothing of it any more', { skip: missing }, async (t) => {
  const hubs = await startPair(t)

  await t.test('at once, since it is told', async (t) => {
    const leaked = await leak(hubs, 'told')
    t.ok(existsSync(leaked.cached), 'the pack is in its cache')
    const { wire, done } = await slowClone(t, hubs, leaked, 0.5 * MiB)
    await leaked.purge()
    const [at, purgedAt] = [wire.bytes, performance.now()]
    t.not((await done).code, 0)
    t.ok(performance.now() - purgedAt < 2_000, `after ${Math.round(performance.now() - purgedAt)} ms`)
    t.ok(wire.bytes - at < MiB, `${wire.bytes - at} bytes came after it`)
    t.ok(await becomes(() => !existsSync(leaked.cached)))
  })

  await t.test('and as soon as it listens again, when its connection was ended just before', async (t) => {
    const leaked = await leak(hubs, 'ended')
    const { done } = await slowClone(t, hubs, leaked, 0.5 * MiB)
    const ended = await hubs.db.query(sql`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^(LISTEN|SELECT FROM pg_listening_channels)'`)
    t.equal(ended.length, 2, 'both hubs listened')
    await leaked.purge()
    const purgedAt = performance.now()
    t.not((await done).code, 0)
    t.ok(performance.now() - purgedAt < 5_000, `after ${Math.round(performance.now() - purgedAt)} ms`)
    t.ok(await becomes(() => !existsSync(leaked.cached)))
  })

  await t.test('and after 8 MiB more when it does not hear of it; the cache follows when it listens again', async (t) => {
    const [leaked, idle] = [await leak(hubs, 'unheard'), await leak(hubs, 'idle')]
    const { wire, done } = await slowClone(t, hubs, leaked, 3 * MiB)
    t.ok(hubs.gate.silence() >= 2)
    await leaked.purge()
    const at = wire.bytes
    t.not((await done).code, 0)
    t.ok(wire.bytes - at < 9 * MiB, `${wire.bytes - at} bytes came after it`)
    t.ok(await becomes(() => !existsSync(leaked.cached)))
    hubs.gate.silence()
    await idle.purge()
    t.ok(existsSync(idle.cached), 'it has not heard')
    t.ok(await becomes(() => !existsSync(idle.cached), 60_000), 'found out by comparing')
  })
})
