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

/** The store of this database; `newId` becomes its id where it has none yet. */
export async function ensureHubStore(db: Queryable, newId: string): Promise<HubStoreRow> {
  await db.execute(sql`INSERT INTO hub_store (store_id) VALUES (${newId}::uuid) ON CONFLICT DO NOTHING`)
  const [row] = await db.query<HubStoreRow>(sql`SELECT store_id AS "storeId", marked FROM hub_store`)
  return row!
}

export async function setStoreMarked(db: Queryable): Promise<void> {
  await db.execute(sql`UPDATE hub_store SET marked = true`)
}

/** Any number nobody else uses: 'store' in ASCII. */
const storeLock = 0x73746f7265

/**
 * Takes the lock for as long as the connection lives; several may share it. False: somebody has it in a way that does not go together.
 */
export async function tryStoreLock(connection: DirectConnection, { shared }: { readonly shared: boolean }): Promise<boolean> {
  const [row] = await connection.query<{ taken: boolean }>(
    shared ? sql`SELECT pg_try_advisory_lock_shared(${storeLock}) AS taken` : sql`SELECT pg_try_advisory_lock(${storeLock}) AS taken`,
  )
  return row!.taken
}
