import type { Queryable, Transaction } from './pool.js'
import { ago, named, sql } from './sql.js'

/** One ref's step: without `oldOid` it was made, without `newOid` it was deleted. */
export interface RefChangeRow {
  readonly name: Buffer
  readonly oldOid: Buffer | null
  readonly newOid: Buffer | null
  readonly newPeeled: Buffer | null
}

/** Writes what an update did to refs, in one statement. */
export async function appendRefLog(
  tx: Transaction,
  repoId: number,
  updateId: string,
  actorId: number | null,
  changes: readonly RefChangeRow[],
): Promise<void> {
  await tx.execute(
    named(
      'append-ref-log',
      sql`
    INSERT INTO ref_log (repo_id, name, old_oid, new_oid, new_peeled, actor_id, update_id)
    SELECT ${repoId}, c.name, c.old_oid, c.new_oid, c.new_peeled, ${actorId}::bigint, ${updateId}::uuid
    FROM unnest(
      ${changes.map((change) => change.name)}::bytea[], ${changes.map((change) => change.oldOid)}::bytea[],
      ${changes.map((change) => change.newOid)}::bytea[], ${changes.map((change) => change.newPeeled)}::bytea[]
    ) AS c (name, old_oid, new_oid, new_peeled)`,
    ),
  )
}

/** The last line of a repository's log, and whose it is. Ids of one repository rise: lines are written under its lock. */
export interface RefLogEnd {
  readonly id: number
  readonly updateId: string
}

/** Undefined: nothing was logged. */
export async function findRefLogEnd(db: Queryable, repoId: number): Promise<RefLogEnd | undefined> {
  const [row] = await db.query<{ id: number; update_id: string }>(
    named('find-ref-log-end', sql`SELECT id, update_id FROM ref_log WHERE repo_id = ${repoId} ORDER BY id DESC LIMIT 1`),
  )
  return row && { id: row.id, updateId: row.update_id }
}

/** One ref's step with its place in the log. */
export interface RefStepRow extends RefChangeRow, RefLogEnd {}

/** The log of a repository from the line with this id on, oldest first, at most `limit` lines. */
export async function listRefLogFrom(db: Queryable, repoId: number, id: number, limit: number): Promise<RefStepRow[]> {
  return db.query<RefStepRow>(
    named(
      'list-ref-log-from',
      sql`
    SELECT id, update_id AS "updateId", name, old_oid AS "oldOid", new_oid AS "newOid", new_peeled AS "newPeeled"
    FROM ref_log WHERE repo_id = ${repoId} AND id >= ${id} ORDER BY id LIMIT ${limit}`,
    ),
  )
}

/** What refs of a repository were at or became in the last `withinMs`, each once. */
export async function listRecentTips(db: Queryable, repoId: number, withinMs: number): Promise<Buffer[]> {
  const rows = await db.query<{ oid: Buffer }>(sql`
    SELECT DISTINCT t.oid FROM ref_log l CROSS JOIN LATERAL (VALUES (l.old_oid), (l.new_oid)) AS t (oid)
    WHERE l.repo_id = ${repoId} AND l.at > ${ago(withinMs)} AND t.oid IS NOT NULL`)
  return rows.map(({ oid }) => oid)
}

/** One line of the log as it is read: who did it (null: the hub itself, or an actor that is gone), and when. */
export interface RefLogRow {
  readonly id: number
  readonly name: Buffer
  readonly oldOid: Buffer | null
  readonly newOid: Buffer | null
  readonly actor: string | null
  readonly at: Date
}

export interface RefLogPage {
  /** Of one ref only. */
  readonly name?: Buffer | undefined
  /** Only lines before the one with this id. */
  readonly before?: number | undefined
  readonly limit: number
}

/** What refs of a repository were, newest first. */
export async function listRefLog(db: Queryable, repoId: number, { name, before, limit }: RefLogPage): Promise<RefLogRow[]> {
  const rows = await db.query<{ id: number; name: Buffer; old_oid: Buffer | null; new_oid: Buffer | null; actor: string | null; at: Date }>(sql`
    SELECT l.id, l.name, l.old_oid, l.new_oid, n.name AS actor, l.at
    FROM ref_log l LEFT JOIN namespaces n ON n.id = l.actor_id
    WHERE l.repo_id = ${repoId} AND (${name ?? null}::bytea IS NULL OR l.name = ${name ?? null}::bytea)
      AND (${before ?? null}::bigint IS NULL OR l.id < ${before ?? null}::bigint)
    ORDER BY l.id DESC LIMIT ${limit}`)
  return rows.map(({ old_oid, new_oid, ...row }) => ({ ...row, oldOid: old_oid, newOid: new_oid }))
}

/** Whether a ref of the repository was at this object, or became it, in the last `withinMs`. */
export async function wasRecentTip(db: Queryable, repoId: number, oid: Uint8Array, withinMs: number): Promise<boolean> {
  const [row] = await db.query<{ was: boolean }>(sql`
    SELECT EXISTS (
      SELECT FROM ref_log WHERE repo_id = ${repoId} AND at > ${ago(withinMs)} AND (old_oid = ${oid} OR new_oid = ${oid})) AS was`)
  return row!.was
}
