import type { Queryable, Transaction } from './pool.js'
import { named, sql } from './sql.js'

/** A ref as stored: names and oids are bytes; `peeled` is there for annotated tags. */
export interface RefRow {
  readonly name: Buffer
  readonly oid: Buffer
  readonly peeled: Buffer | null
}

/** All refs of a repository, sorted bytewise. */
export function listRefs(db: Queryable, repoId: number): Promise<RefRow[]> {
  return db.query<RefRow>(named('list-refs', sql`SELECT name, oid, peeled FROM refs WHERE repo_id = ${repoId} ORDER BY name`))
}

/** Those of the named refs that exist, and the one that HEAD names, in no order. */
export async function findRefsAndHead(db: Queryable, repoId: number, names: readonly Buffer[]): Promise<RefRow[]> {
  return db.query<RefRow>(
    named(
      'find-refs-and-head',
      sql`
    SELECT name, oid, peeled FROM refs
    WHERE repo_id = ${repoId} AND name = ANY (${names}::bytea[] || (SELECT head_ref FROM repositories WHERE id = ${repoId}))`,
    ),
  )
}

/** Number of refs in the repository. */
export async function countRefs(db: Queryable, repoId: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(sql`SELECT count(*) AS n FROM refs WHERE repo_id = ${repoId}`)
  return row!.n
}

/**
 * Those of `names` below which another ref stands (`refs/heads/a` while there is `refs/heads/a/b`); refs in `leaving` do not count.
 * In bytes, everything below `name/` lies between `name/` and `name0`.
 */
export async function namesWithRefsBelow(tx: Transaction, repoId: number, names: readonly Buffer[], leaving: readonly Buffer[]): Promise<Buffer[]> {
  if (names.length === 0) return []
  const rows = await tx.query<{ name: Buffer }>(sql`
    SELECT n.name FROM unnest(${names}::bytea[]) AS n (name)
    WHERE EXISTS (
      SELECT FROM refs r
      WHERE r.repo_id = ${repoId} AND r.name > n.name || '\\x2f'::bytea AND r.name < n.name || '\\x30'::bytea
        AND NOT r.name = ANY (${leaving}::bytea[]))`)
  return rows.map((row) => row.name)
}

/** Deletes refs, each only while it has the value given. Returns how many had. */
export async function deleteRefs(
  tx: Transaction,
  repoId: number,
  refs: readonly { readonly name: Buffer; readonly oldOid: Buffer }[],
): Promise<number> {
  if (refs.length === 0) return 0
  return tx.execute(sql`
    DELETE FROM refs r USING unnest(${refs.map((ref) => ref.name)}::bytea[], ${refs.map((ref) => ref.oldOid)}::bytea[]) AS d (name, oid)
    WHERE r.repo_id = ${repoId} AND r.name = d.name AND r.oid = d.oid`)
}

/** Moves refs by compare-and-swap. Returns how many had the old value. */
export async function moveRefs(tx: Transaction, repoId: number, moves: readonly (RefRow & { readonly oldOid: Buffer })[]): Promise<number> {
  if (moves.length === 0) return 0
  return tx.execute(
    named(
      'move-refs',
      sql`
    UPDATE refs r SET oid = m.new_oid, peeled = m.peeled
    FROM unnest(
      ${moves.map((move) => move.name)}::bytea[], ${moves.map((move) => move.oldOid)}::bytea[],
      ${moves.map((move) => move.oid)}::bytea[], ${moves.map((move) => move.peeled)}::bytea[]
    ) AS m (name, old_oid, new_oid, peeled)
    WHERE r.repo_id = ${repoId} AND r.name = m.name AND r.oid = m.old_oid`,
    ),
  )
}

/** Makes refs that must not exist yet. Returns how many were made. */
export async function insertRefs(tx: Transaction, repoId: number, refs: readonly RefRow[]): Promise<number> {
  if (refs.length === 0) return 0
  return tx.execute(sql`
    INSERT INTO refs (repo_id, name, oid, peeled)
    SELECT ${repoId}, c.name, c.oid, c.peeled
    FROM unnest(
      ${refs.map((ref) => ref.name)}::bytea[], ${refs.map((ref) => ref.oid)}::bytea[], ${refs.map((ref) => ref.peeled)}::bytea[]
    ) AS c (name, oid, peeled)
    ON CONFLICT DO NOTHING`)
}
