import { setTimeout as delay } from 'node:timers/promises'
import { checkServer } from '../../db/check-server.js'
import type { Database } from '../../db/pool.js'
import { sql } from '../../db/sql.js'
import { chain, Fault, hasCode, look, type Change, type Finding } from './finding.js'

/** More, and links that are signed on one machine are over on another too early. */
const maxClockDifferenceMs = 5_000
const url: Change = ['DATABASE_URL']

/** What a database of one's own must be able to do. Nothing is left in it. */
export async function* checkDatabase(db: Database): AsyncGenerator<Finding> {
  const reached = await look('database: reached', url, () => explained(() => reach(db)))
  yield reached
  if (reached.state === 'fault') return
  yield look('database: clock', ['the clock'], () => compareClocks(db))
  yield look('database: rights', ['PostgreSQL'], () => explained(() => makeTable(db)))
  yield look('database: sessions', ['DATABASE_DIRECT_URL'], () => explained(() => holdSession(db)))
}

/** What people can act on, for what servers say most often. */
async function explained(work: () => Promise<string>): Promise<string> {
  try {
    return await work()
  } catch (error) {
    const said = chain(error).at(-1)?.message ?? ''
    if (hasCode(error, 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'ENOENT'))
      throw new Fault(`no PostgreSQL listens there: ${said}`, url)
    if (hasCode(error, 'ENOTFOUND', 'EAI_AGAIN')) throw new Fault(`its host has no address: ${said}`, url)
    if (hasCode(error, '28P01', '28000')) throw new Fault(`user or password are wrong: ${said}`, url)
    if (hasCode(error, '3D000')) throw new Fault(`the database is not there: ${said}`, url)
    if (hasCode(error, '42501')) throw new Fault(`its user lacks a right: ${said}. GRANT CREATE ON SCHEMA public`, ['PostgreSQL'])
    if (hasCode(error, '53300')) throw new Fault(`it has no connection left: ${said}`, ['CAIRN_DATABASE_CONNECTIONS', 'PostgreSQL'])
    throw error
  }
}

async function reach(db: Database): Promise<string> {
  const startedAt = performance.now()
  const [row] = await db.query<{ version: string; ssl: boolean }>(sql`
    SELECT current_setting('server_version') AS version,
      COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS ssl`)
  const ms = Math.round(performance.now() - startedAt)
  await checkServer(db)
  return `PostgreSQL ${row!.version}, ${row!.ssl ? 'over TLS' : 'without TLS'}, ${ms} ms`
}

async function compareClocks(db: Database): Promise<string> {
  const before = Date.now()
  const [row] = await db.query<{ ms: number }>(sql`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms`)
  const difference = Math.round(row!.ms - (before + Date.now()) / 2)
  if (Math.abs(difference) > maxClockDifferenceMs)
    throw new Fault(`the database's clock is ${Math.abs(difference)} ms ${difference > 0 ? 'ahead of' : 'behind'} ours`, ['the clock'])
  return `${Math.abs(difference)} ms from ours`
}

async function makeTable(db: Database): Promise<string> {
  const undo = new Error('undo')
  await db
    .transaction(async (tx) => {
      await tx.execute(sql`CREATE TABLE cairn_doctor (id bigint)`)
      throw undo
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error
    })
  return 'tables can be made'
}

/** Session locks and LISTEN are lost in a pooler that hands its connections from transaction to transaction. */
async function holdSession(db: Database): Promise<string> {
  const [one, two] = [await db.direct(), await db.direct()]
  const key = Math.floor(Math.random() * 2 ** 31)
  try {
    await one.query(sql`SELECT pg_advisory_lock(${key}::bigint)`)
    await delay(50)
    const [row] = await two.query<{ free: boolean; held: boolean }>(sql`
      SELECT pg_try_advisory_lock(${key}::bigint) AS free`)
    const [same] = await one.query<{ held: number }>(sql`
      SELECT count(*)::int AS held FROM pg_locks WHERE locktype = 'advisory' AND objid = ${key}::bigint::oid AND pid = pg_backend_pid()`)
    if (row!.free || same!.held !== 1)
      throw new Fault(
        'a lock does not stay with its session: there is a pooler in transaction mode, and DATABASE_DIRECT_URL has to name the server itself',
        ['DATABASE_DIRECT_URL'],
      )
    return 'locks stay with their session'
  } finally {
    await Promise.all([one.close(), two.close()])
  }
}
