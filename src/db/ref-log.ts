import type { Queryable, Transaction } from './pool.js'
import { ago, sql } from './sql.js'

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
  await tx.execute(sql`
    INSERT INTO ref_log (repo_id, name, old_oid, new_oid, new_peeled, actor_id, update_id)
    SELECT ${repoId}, c.name, c.old_oid, c.new_oid, c.new_peeled, ${actorId}::bigint, ${updateId}::uuid
    FROM unnest(
      ${changes.map((change) => change.name)}::bytea[], ${changes.map((change) => change.oldOid)}::bytea[],
      ${changes.map((change) => change.newOid)}::bytea[], ${changes.map((change) => change.newPeeled)}::bytea[]
    ) AS c (name, old_oid, new_oid, new_peeled)`)
}

/** What refs of a repository were at or became in the last `withinMs`, each once. */
export async function listRecentTips(db: Queryable, repoId: number, withinMs: number): Promise<Buffer[]> {
  const rows = await db.query<{ oid: Buffer }>(sql`
    SELECT DISTINCT t.oid FROM ref_log l CROSS JOIN LATERAL (VALUES (l.old_oid), (l.new_oid)) AS t (oid)
    WHERE l.repo_id = ${repoId} AND l.at > ${ago(withinMs)} AND t.oid IS NOT NULL`)
  return rows.map(({ oid }) => oid)
}
