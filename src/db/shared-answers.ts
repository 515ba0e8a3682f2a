import type { Queryable, Transaction } from './pool.js'
import { ago, named, sql } from './sql.js'

/*
 * `shared_answer`: packs that answered clones, as blobs of the store. Rows are what counts: a blob without one is collected as any other.
 */

/** What an answer is found by. */
export interface SharedAnswerName {
  readonly repoId: number
  readonly purgeEpoch: number
  /** SHA-256 of all else that shapes it. */
  readonly request: Uint8Array
}

export interface SharedAnswerBlob {
  readonly key: string
  readonly bytes: number
}

/** A row that was used by then is not written again: readers do not wait for each other. */
const touchAfterMs = 10 * 60_000

/** Undefined: no hub keeps it. One that is found counts as used now, give or take ten minutes. */
export async function findSharedAnswer(db: Queryable, { repoId, purgeEpoch, request }: SharedAnswerName): Promise<SharedAnswerBlob | undefined> {
  const here = sql`repo_id = ${repoId} AND purge_epoch = ${purgeEpoch} AND request = ${request}`
  const [row] = await db.query<SharedAnswerBlob & { readonly stale: boolean }>(
    named('find-shared-answer', sql`SELECT key, bytes, used_at <= ${ago(touchAfterMs)} AS stale FROM shared_answer WHERE ${here}`),
  )
  // Whoever removes it must see that it is in use, or have been first.
  if (row?.stale && (await db.execute(sql`UPDATE shared_answer SET used_at = now() WHERE ${here}`)) === 0) return undefined
  return row && { key: row.key, bytes: row.bytes }
}

/** Keeps a repository from being purged until the transaction ends. False: it was purged since that epoch, or is deleted. */
export async function lockAtEpoch(tx: Transaction, repoId: number, purgeEpoch: number): Promise<boolean> {
  const rows = await tx.query(sql`
    SELECT FROM repositories WHERE id = ${repoId} AND purge_epoch = ${purgeEpoch} AND deleted_at IS NULL FOR SHARE`)
  return rows.length === 1
}

/** Only for a blob that this transaction has locked as live. Another hub may have been first: its row stays. */
export async function insertSharedAnswer(
  tx: Transaction,
  { repoId, purgeEpoch, request, key, bytes }: SharedAnswerName & SharedAnswerBlob,
): Promise<void> {
  await tx.execute(sql`
    INSERT INTO shared_answer (repo_id, purge_epoch, request, key, bytes)
    VALUES (${repoId}, ${purgeEpoch}, ${request}, ${key}, ${bytes}) ON CONFLICT DO NOTHING`)
}

/** Bytes of all of them. */
export async function sumSharedAnswers(db: Queryable): Promise<number> {
  const [row] = await db.query<{ bytes: number }>(sql`SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM shared_answer`)
  return row!.bytes
}

/** Removes the rows of one blob. */
export async function deleteSharedAnswer(db: Queryable, key: string): Promise<void> {
  await db.execute(sql`DELETE FROM shared_answer WHERE key = ${key}`)
}

/** Removes all of a repository. Comes back with the keys of their blobs. */
export function deleteSharedAnswersOf(tx: Transaction, repoId: number): Promise<string[]> {
  return keysOf(tx.query(sql`DELETE FROM shared_answer WHERE repo_id = ${repoId} RETURNING key`))
}

/** Removes those that can be found no more: of repositories that were purged since, or are deleted. As above. */
export function deleteLostSharedAnswers(db: Queryable): Promise<string[]> {
  return keysOf(
    db.query(sql`
    DELETE FROM shared_answer a USING repositories r
    WHERE r.id = a.repo_id AND (r.purge_epoch <> a.purge_epoch OR r.deleted_at IS NOT NULL) RETURNING a.key`),
  )
}

/** Removes those used longest ago, so that no more than `maxBytes` are left; none that was used within `unusedMs`. As above. */
export function trimSharedAnswers(db: Queryable, maxBytes: number, unusedMs: number): Promise<string[]> {
  return keysOf(
    db.query(sql`
    DELETE FROM shared_answer a USING (
      SELECT repo_id, purge_epoch, request, sum(bytes) OVER (ORDER BY used_at DESC, key) AS upto FROM shared_answer
    ) AS o
    WHERE (a.repo_id, a.purge_epoch, a.request) = (o.repo_id, o.purge_epoch, o.request) AND o.upto > ${maxBytes}::bigint
      AND a.used_at <= ${ago(unusedMs)} RETURNING a.key`),
  )
}

async function keysOf(rows: Promise<{ readonly key: string }[]>): Promise<string[]> {
  return [...new Set((await rows).map(({ key }) => key))]
}
