import type { Queryable, Transaction } from './pool.js'
import { named, sql } from './sql.js'

/*
 * `hub_move` and `moved_blob`: whether the data of this database is on its way, and the session locks that go with it. See docs/moving.md.
 */

export interface MoveRow {
  /** `moved`: the data is elsewhere now. `arriving`: it is not all here, or not yet this side's. */
  readonly state: 'moved' | 'arriving'
  /** The id of the store at the other side. */
  readonly otherStore: string
  /** Where that is, for people. */
  readonly otherPlace: string
  readonly at: Date
}

const columns = sql`state, other_store AS "otherStore", other_place AS "otherPlace", at`

/** Undefined: the data is here, and the hub's. */
export async function findMove(db: Queryable): Promise<MoveRow | undefined> {
  const [row] = await db.query<MoveRow>(sql`SELECT ${columns} FROM hub_move`)
  return row
}

export async function insertMove(db: Queryable, { state, otherStore, otherPlace }: Omit<MoveRow, 'at'>): Promise<void> {
  await db.execute(sql`INSERT INTO hub_move (state, other_store, other_place) VALUES (${state}, ${otherStore}::uuid, ${otherPlace})`)
}

export async function deleteMove(db: Queryable): Promise<void> {
  await db.execute(sql`DELETE FROM hub_move`)
}

/** Numbers nobody else uses: 'mover' and 'switch' in ASCII. */
const moverLock = 0x6d6f766572
const switchLock = 0x737769746368

/** Makes this session the one that moves the data, or for `transaction` this transaction. False: another does. */
export async function tryMoverLock(db: Queryable, lasts: 'session' | 'transaction'): Promise<boolean> {
  const [row] = await db.query<{ taken: boolean }>(
    lasts === 'session' ? sql`SELECT pg_try_advisory_lock(${moverLock}) AS taken` : sql`SELECT pg_try_advisory_xact_lock(${moverLock}) AS taken`,
  )
  return row!.taken
}

/** Lets every hub know that nothing may be changed, for as long as the session lives. */
export async function takeSwitchLock(session: Queryable): Promise<void> {
  await session.query(sql`SELECT pg_advisory_lock(${switchLock})`)
}

/**
 * Whether changes may be made: they may not while the switch is under way, nor once it is done. Who asks between the two may be told that they
 * may; the seal refuses them all the same.
 */
export async function readSwitch(db: Queryable): Promise<{ readonly switching: boolean; readonly move: MoveRow | undefined }> {
  const [row] = await db.query<MoveRow & { readonly free: boolean; readonly state: MoveRow['state'] | null }>(
    named(
      'read-switch',
      sql`
    SELECT pg_try_advisory_xact_lock_shared(${switchLock}) AS free, ${columns} FROM (SELECT) AS always LEFT JOIN hub_move ON true`,
    ),
  )
  const { free, ...move } = row!
  return { switching: !free, move: move.state === null ? undefined : move }
}

export interface MovedBlob {
  readonly key: string
  readonly bytes: number
}

/** Those of the keys that came before, and were verified. */
export function listVerifiedBlobs(db: Queryable, keys: readonly string[]): Promise<MovedBlob[]> {
  return db.query<MovedBlob>(sql`SELECT key, bytes FROM moved_blob WHERE key = ANY (${keys}::text[]) AND verified`)
}

/** Says that these are about to come: whatever is there of them from now on belongs to the move. */
export async function expectBlobs(db: Queryable, blobs: readonly MovedBlob[]): Promise<void> {
  await db.execute(sql`
    INSERT INTO moved_blob (key, bytes)
    SELECT * FROM unnest(${blobs.map(({ key }) => key)}::text[], ${blobs.map(({ bytes }) => bytes)}::bigint[])
    ON CONFLICT (key) DO UPDATE SET bytes = EXCLUDED.bytes, verified = false`)
}

export async function setBlobsVerified(db: Queryable, keys: readonly string[]): Promise<void> {
  await db.execute(sql`UPDATE moved_blob SET verified = true WHERE key = ANY (${keys}::text[])`)
}

/** Of the blobs that rows of this database need, those that did not come, in order, `limit` at most. */
export function listMissingBlobs(tx: Transaction, limit: number): Promise<MovedBlob[]> {
  return tx.query<MovedBlob>(sql`
    SELECT b.key, b.bytes FROM stored_blob b LEFT JOIN moved_blob m ON m.key = b.key AND m.bytes = b.bytes AND m.verified
    WHERE m.key IS NULL AND (EXISTS (SELECT FROM blob_link l WHERE l.key = b.key) OR EXISTS (SELECT FROM representation r WHERE r.key = b.key))
    ORDER BY b.key LIMIT ${limit}`)
}

/** Blobs that came and that no row knows any more, `limit` at most. */
export async function listStrayBlobs(db: Queryable, limit: number): Promise<string[]> {
  const rows = await db.query<{ key: string }>(sql`
    SELECT key FROM moved_blob m WHERE NOT EXISTS (SELECT FROM stored_blob b WHERE b.key = m.key) ORDER BY key LIMIT ${limit}`)
  return rows.map(({ key }) => key)
}

export async function forgetBlobs(db: Queryable, keys: readonly string[]): Promise<void> {
  await db.execute(sql`DELETE FROM moved_blob WHERE key = ANY (${keys}::text[])`)
}

export async function forgetAllBlobs(db: Queryable): Promise<void> {
  await db.execute(sql`TRUNCATE moved_blob`)
}
