import { HubError } from '../errors.js'
import type { DirectConnection, Queryable } from './pool.js'
import { sql } from './sql.js'

/*
 * `hub_store`: which store the rows of this database are about; and the session lock that says how many hubs may use the two.
 */

export interface HubStoreRow {
  /** A UUID, lower case. */
  readonly storeId: string
  /** The id stands in the store. */
  readonly marked: boolean
}

const columns = sql`store_id AS "storeId", marked`

/** Undefined: no hub has used this database yet. */
export async function findHubStore(db: Queryable): Promise<HubStoreRow | undefined> {
  const [row] = await db.query<HubStoreRow>(sql`SELECT ${columns} FROM hub_store`)
  return row
}

/** The store of this database; `newId` becomes its id where it has none yet. */
export async function ensureHubStore(db: Queryable, newId: string): Promise<HubStoreRow> {
  await db.execute(sql`INSERT INTO hub_store (store_id) VALUES (${newId}::uuid) ON CONFLICT DO NOTHING`)
  return (await findHubStore(db))!
}

export async function setStoreMarked(db: Queryable): Promise<void> {
  await db.execute(sql`UPDATE hub_store SET marked = true`)
}

/** How long a session may take to end. */
const endMs = 5_000

/** Any number nobody else uses: 'store' in ASCII. */
const storeLock = 0x73746f7265

/** A session as the server knows it: the number of a process alone is given out again. */
export interface SessionId {
  readonly pid: number
  /** Seconds since 1970, as the server writes them. */
  readonly startedAt: string
}

/** After that many seconds without a word the server asks whether the other side is there, and after two more questions ends the session. */
const [idleSeconds, intervalSeconds, probes] = [15, 5, 3]

/**
 * Makes the connection one that the server does not keep for long after the other side has gone without a word, where the system can find that out.
 * Which session it is.
 */
export async function beginLockSession(connection: DirectConnection): Promise<SessionId> {
  const [row] = await connection.query<SessionId>(sql`
    SELECT pg_backend_pid() AS pid, (SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS "startedAt",
      set_config('tcp_keepalives_idle', ${String(idleSeconds)}, false), set_config('tcp_keepalives_interval', ${String(intervalSeconds)}, false),
      set_config('tcp_keepalives_count', ${String(probes)}, false),
      set_config('tcp_user_timeout', ${String((idleSeconds + probes * intervalSeconds) * 1000)}, false)`)
  return { pid: row!.pid, startedAt: row!.startedAt }
}

/** Ends a session of this hub's own, if the server has it still, and with it its lock. @throws HubError `busy` when it has not gone after some seconds */
export async function endSession(connection: DirectConnection, { pid, startedAt }: SessionId): Promise<void> {
  const [row] = await connection.query<{ ended: boolean }>(sql`
    SELECT pg_terminate_backend(pid, ${endMs}) AS ended FROM pg_stat_activity
    WHERE pid = ${pid} AND extract(epoch FROM backend_start) = ${startedAt}::numeric`)
  if (row && !row.ended) throw new HubError('busy', `the session ${pid} of the database does not end`)
}

/**
 * Takes the lock for as long as the connection lives; several may share it. False: somebody has it in a way that does not go together.
 */
export async function tryStoreLock(connection: DirectConnection, { shared }: { readonly shared: boolean }): Promise<boolean> {
  const [row] = await connection.query<{ taken: boolean }>(
    shared ? sql`SELECT pg_try_advisory_lock_shared(${storeLock}) AS taken` : sql`SELECT pg_try_advisory_lock(${storeLock}) AS taken`,
  )
  return row!.taken
}
