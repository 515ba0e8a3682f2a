import type { Queryable, Transaction } from './pool.js'
import { ago, named, sql, type Sql } from './sql.js'

/*
 * `stored_blob` and `blob_link`: which bytes are in a store, and which rows need them. The order of these statements is the state machine of
 * src/kept; see docs/git-storage.md, "Keeping and deleting a stored blob". Rows are always locked in the order of their keys, as bytes.
 */

/** What a row that is there already becomes for who keeps it; one that is being deleted stays so, and is not in the answer. */
export const elseKept = sql`ON CONFLICT (key) DO UPDATE SET state = 'live', last_used_at = now() WHERE stored_blob.state <> 'deleting'
    RETURNING key`

/**
 * Creates, revives or touches a row for each key, all as live, and comes back with the keys that have one. One that is missing is being
 * deleted. A key must not be there twice.
 */
export async function keepBlobs(db: Queryable, blobs: readonly { readonly key: string; readonly bytes: number }[]): Promise<string[]> {
  const rows = await db.query<{ key: string }>(
    named(
      'keep-blobs',
      sql`
    INSERT INTO stored_blob (key, bytes)
    SELECT b.key, b.bytes
    FROM unnest(${blobs.map(({ key }) => key)}::text[], ${blobs.map(({ bytes }) => bytes)}::bigint[]) AS b (key, bytes)
    ORDER BY b.key COLLATE "C"
    ${elseKept}`,
    ),
  )
  return rows.map(({ key }) => key)
}

/** Locks those rows that are live against being doomed, until the transaction ends; how many they are. */
export async function lockLiveBlobs(tx: Transaction, keys: readonly string[]): Promise<number> {
  const rows = await tx.query(
    named(
      'lock-live-blobs',
      sql`
    SELECT key FROM stored_blob WHERE key = ANY (${keys}::text[]) AND state = 'live' ORDER BY key FOR SHARE`,
    ),
  )
  return rows.length
}

export interface BlobLink {
  readonly key: string
  readonly repoId: number
  /** Null: the repository needs it, none of its packs. */
  readonly packId: number | null
  readonly kind: 'pack' | 'idx' | 'rev' | 'tbl' | 'midx' | 'bitmap' | 'graph'
}

/** Adds the links that are not there yet. Only for rows this transaction has locked as live. */
export async function linkBlobs(tx: Transaction, links: readonly BlobLink[]): Promise<void> {
  if (links.length === 0) return
  await tx.execute(sql`
    INSERT INTO blob_link (key, repo_id, pack_id, kind)
    SELECT * FROM unnest(
      ${links.map(({ key }) => key)}::text[], ${links.map(({ repoId }) => repoId)}::bigint[],
      ${links.map(({ packId }) => packId)}::bigint[], ${links.map(({ kind }) => kind)}::text[]
    ) AS l (key, repo_id, pack_id, kind)
    ORDER BY l.key COLLATE "C"
    ON CONFLICT DO NOTHING`)
}

/** Locks the row if it is live and was not kept for so long. It says nothing of links: these are asked for by a statement that begins once the lock is had. */
export async function lockUnusedBlob(tx: Transaction, key: string, unusedMs: number): Promise<boolean> {
  const rows = await tx.query(sql`
    SELECT FROM stored_blob WHERE key = ${key} AND state = 'live' AND last_used_at <= ${ago(unusedMs)} FOR UPDATE`)
  return rows.length === 1
}

/** Locks the row if it is live or doomed, however lately it was kept. As above. */
export async function lockBlob(tx: Transaction, key: string): Promise<boolean> {
  const rows = await tx.query(sql`SELECT FROM stored_blob WHERE key = ${key} AND state <> 'deleting' FOR UPDATE`)
  return rows.length === 1
}

/** Locks the row if it has been doomed for so long. As above. */
export async function lockDoomedBlob(tx: Transaction, key: string, doomedMs: number): Promise<boolean> {
  const rows = await tx.query(sql`
    SELECT FROM stored_blob WHERE key = ${key} AND state = 'doomed' AND state_at <= ${ago(doomedMs)} FOR UPDATE`)
  return rows.length === 1
}

/** Whether the blob of that key cannot be made again. */
const isNeeded = (key: Sql): Sql => sql`(
  EXISTS (SELECT FROM blob_link l WHERE l.key = ${key})
  OR EXISTS (SELECT FROM representation r WHERE r.key = ${key})
  OR EXISTS (SELECT FROM lfs_upload u WHERE u.key = ${key}))`

/** Whether any row leads to the blob of that key: with the one before, the place that knows them all. */
const isLinked = (key: Sql): Sql => sql`(${isNeeded(key)} OR EXISTS (SELECT FROM shared_answer a WHERE a.key = ${key}))`

export async function isBlobLinked(tx: Transaction, key: string): Promise<boolean> {
  const [row] = await tx.query<{ linked: boolean }>(sql`SELECT ${isLinked(sql`${key}::text`)} AS linked`)
  return row!.linked
}

/** Whether its bytes would be missed: those of what is kept for speed alone would not. */
export async function isBlobNeeded(db: Queryable, key: string): Promise<boolean> {
  const [row] = await db.query<{ needed: boolean }>(sql`SELECT ${isNeeded(sql`${key}::text`)} AS needed`)
  return row!.needed
}

/** Those of the keys that no row needs, whether or not there is a blob. */
export async function findUnlinkedBlobs(db: Queryable, keys: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ key: string }>(sql`
    SELECT u.key FROM unnest(${keys}::text[]) AS u (key) WHERE NOT ${isLinked(sql`u.key`)}`)
  return rows.map(({ key }) => key)
}

/** Changes the state of a row this transaction has locked. Comes back with the claim that goes with it, see `claimDeleting`. */
export async function setBlobState(tx: Transaction, key: string, state: 'live' | 'doomed' | 'deleting'): Promise<string> {
  const [row] = await tx.query<{ claim: string }>(sql`
    UPDATE stored_blob SET state = ${state}, state_at = clock_timestamp() WHERE key = ${key} RETURNING state_at::text AS claim`)
  return row!.claim
}

/**
 * Takes on the deletion of bytes whose row was left behind, unless somebody tried within `restMs`: whose request may still be on its way.
 * Comes back with the claim to remove the row with.
 */
export async function claimDeleting(db: Queryable, key: string, restMs: number): Promise<string | undefined> {
  const [row] = await db.query<{ claim: string }>(sql`
    UPDATE stored_blob SET state_at = clock_timestamp() WHERE key = ${key} AND state = 'deleting' AND state_at <= ${ago(restMs)}
    RETURNING state_at::text AS claim`)
  return row?.claim
}

/** Removes the row of deleted bytes. False: somebody else has taken the deletion on since. */
export async function removeDeleted(db: Queryable, key: string, claim: string): Promise<boolean> {
  const removed = await db.execute(sql`
    DELETE FROM stored_blob WHERE key = ${key} AND state = 'deleting' AND state_at = ${claim}::timestamptz`)
  return removed === 1
}

export interface BlobRow {
  readonly key: string
  readonly bytes: number
}

/** One page: keys after `after`, in order, `limit` at most. */
export interface BlobPage {
  readonly after: string
  readonly limit: number
}

/** Live, not kept for so long, and nothing links them. */
export function listUnusedBlobs(db: Queryable, unusedMs: number, { after, limit }: BlobPage): Promise<BlobRow[]> {
  return db.query<BlobRow>(sql`
    SELECT key, bytes FROM stored_blob b
    WHERE key > ${after} AND state = 'live' AND last_used_at <= ${ago(unusedMs)} AND NOT ${isLinked(sql`b.key`)}
    ORDER BY key LIMIT ${limit}`)
}

/** In this state for so long. */
export function listWaitingBlobs(db: Queryable, state: 'doomed' | 'deleting', waitedMs: number, { after, limit }: BlobPage): Promise<BlobRow[]> {
  return db.query<BlobRow>(sql`
    SELECT key, bytes FROM stored_blob WHERE key > ${after} AND state = ${state} AND state_at <= ${ago(waitedMs)} ORDER BY key LIMIT ${limit}`)
}

/** Those that are not being deleted. */
export function listStoredBlobs(db: Queryable, { after, limit }: BlobPage): Promise<BlobRow[]> {
  return db.query<BlobRow>(sql`SELECT key, bytes FROM stored_blob WHERE key > ${after} AND state <> 'deleting' ORDER BY key LIMIT ${limit}`)
}

/** How many they are, and how many bytes. */
export async function countStoredBlobs(db: Queryable): Promise<{ readonly blobs: number; readonly bytes: number }> {
  const [row] = await db.query<{ blobs: number; bytes: number }>(sql`
    SELECT count(*) AS blobs, coalesce(sum(bytes), 0)::bigint AS bytes FROM stored_blob WHERE state <> 'deleting'`)
  return row!
}

/** A row beside what a listing of the store says. */
export interface BlobState extends BlobRow {
  readonly state: 'live' | 'doomed' | 'deleting'
}

/** Whatever state they are in, of keys that begin so. No key has a `~`, which comes after everything it may have. */
export function listBlobsBelow(db: Queryable, prefix: string, { after, limit }: BlobPage): Promise<BlobState[]> {
  return db.query<BlobState>(sql`
    SELECT key, bytes, state FROM stored_blob WHERE key > ${after} AND key >= ${prefix} AND key < ${`${prefix}~`} ORDER BY key LIMIT ${limit}`)
}

/** One row as it is now, and whether anything needs it. */
export async function findBlob(db: Queryable, key: string): Promise<(BlobState & { readonly linked: boolean }) | undefined> {
  const [row] = await db.query<BlobState & { linked: boolean }>(sql`
    SELECT key, bytes, state, ${isLinked(sql`b.key`)} AS linked FROM stored_blob b WHERE key = ${key}`)
  return row
}

/**
 * Gives bytes that have no row one in `deleting`, so that nobody keeps them meanwhile. Comes back with the claim that goes with it; undefined:
 * there is a row by now, so somebody needs them.
 */
export async function insertDeleting(db: Queryable, { key, bytes }: BlobRow): Promise<string | undefined> {
  const [row] = await db.query<{ claim: string }>(sql`
    INSERT INTO stored_blob (key, bytes, state, state_at) VALUES (${key}, ${bytes}, 'deleting', clock_timestamp())
    ON CONFLICT (key) DO NOTHING RETURNING state_at::text AS claim`)
  return row?.claim
}
