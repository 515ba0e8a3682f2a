import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { migrate } from '../../src/db/migrate.js'
import { openDatabase, type Database } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import type { HubError } from '../../src/errors.js'
import { claimStore, type StoreClaim } from '../../src/server/store-claim.js'
import { createMemoryBlobStore } from '../../src/storage/memory-blob-store.js'
import { startPostgres } from '../support/tools/postgres-server.js'
import { openTcpGate, type TcpGate } from '../support/tools/tcp-gate.js'

/* A network between hub and database that swallows everything, and tells neither of them: who holds the place of the hub? */

const server = await startPostgres(t)
const near = openTo(t, server.port)
await migrate(near)
const store = createMemoryBlobStore()

function openTo(t: Pick<Test, 'teardown'>, port: number): Database {
  const db = openDatabase({ connection: { connectionString: server.url({ port }) }, maxConnections: 2, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  return db
}

const claimOf = (db: Database, onLost: (error: HubError) => void): Promise<StoreClaim> =>
  claimStore({ db, store, shared: false, storeName: 'the folder f', onLost, checkEveryMs: 50, answerMs: 2_000 })

/** Sessions that hold the place, by the number of their process. */
const holders = async (): Promise<number[]> =>
  (await near.query<{ pid: number }>(sql`SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted`)).map(({ pid }) => pid)

interface FarHub {
  readonly gate: TcpGate
  readonly claim: StoreClaim
  readonly lost: readonly HubError[]
}

async function farHub(t: Test): Promise<FarHub> {
  const gate = await openTcpGate(t, `http://127.0.0.1:${server.port}`)
  const lost: HubError[] = []
  const claim = await claimOf(openTo(t, Number(new URL(gate.url).port)), (error) => void lost.push(error))
  return { gate, claim, lost }
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await delay(50)
  }
}

t.test('a hub takes its place again from its own session, which nobody else knows to be dead', async (t) => {
  const { gate, claim, lost } = await farHub(t)
  const [first] = await holders()
  t.ok(gate.silence() > 0)
  await until('another session holds the place', async () => {
    const [now] = await holders()
    return now !== undefined && now !== first
  })
  t.equal((await holders()).length, 1)
  t.same(lost, [])
  await t.rejects(
    claimOf(near, () => undefined),
    { code: 'config', message: /^another hub is using this database/ },
  )
  await claim.release()
  await until('the place is free', async () => (await holders()).length === 0)
})

t.test('a hub whose place was taken while it heard nothing is told to end', async (t) => {
  const { gate, claim, lost } = await farHub(t)
  const [first] = await holders()
  gate.silence()
  await near.query(sql`SELECT pg_terminate_backend(${first}::int, 5000)`)
  const other = await claimOf(near, () => undefined)
  t.same(lost, [], 'it cannot know yet')
  await until('it is told', () => lost.length > 0)
  t.match(lost, [{ code: 'config', message: /^another hub is using this database/ }])
  await claim.release()
  t.equal((await holders()).length, 1, 'the other keeps it')
  await other.release()
})

t.test('a hub that stops does not wait for a database that is silent', async (t) => {
  const { gate, claim } = await farHub(t)
  void gate.shutAfter('up', 0)
  gate.silence()
  const started = performance.now()
  await claim.release()
  t.ok(performance.now() - started < 5_000)
  gate.open()
  await until('the place is free', async () => (await holders()).length === 0)
})

/**
 * Seconds until the system asks the other side of a connection to the server whether it is there; undefined: it does not, or waits for the answer
 * to what it sent just now. Spec: proc_net_tcp of Linux.
 */
async function secondsToProbe(clientPort: number): Promise<number | undefined> {
  const hex = (port: number) => `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const line of (await readFile('/proc/net/tcp', 'utf8')).split('\n')) {
    const [, local = '', remote = '', , , timer = ''] = line.trim().split(/\s+/)
    if (!local.endsWith(hex(server.port)) || !remote.endsWith(hex(clientPort))) continue
    const [kind, hundredths] = timer.split(':')
    return kind === '02' ? parseInt(hundredths!, 16) / 100 : undefined
  }
  throw new Error(`no connection from port ${clientPort}`)
}

const noProcNet = existsSync('/proc/net/tcp') ? false : 'this system does not tell of the timers of its connections'
t.test('the server asks soon whether a hub that holds the place is still there', { skip: noProcNet }, async (t) => {
  const { claim } = await farHub(t)
  const [row] = await near.query<{ port: number }>(sql`
    SELECT client_port AS port FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' AND granted`)
  let seconds: number | undefined
  await until('the server asks', async () => (seconds = await secondsToProbe(row!.port)) !== undefined)
  t.ok(seconds! <= 15, `in ${seconds} s`)
  await claim.release()
})
