import type { Queryable } from './pool.js'
import { sql } from './sql.js'

export interface LockRow {
  /** UUID. */
  readonly id: string
  readonly path: Buffer
  readonly ownerId: number
  readonly ownerName: string
  readonly lockedAt: Date
}

const columns = sql`k.id, k.path, k.owner_id AS "ownerId", n.name AS "ownerName", k.locked_at AS "lockedAt"`

/** A new lock; undefined: the path is locked. */
export async function insertLock(db: Queryable, id: string, repoId: number, path: Buffer, ownerId: number): Promise<LockRow | undefined> {
  const [row] = await db.query<LockRow>(sql`
    WITH k AS (
      INSERT INTO lfs_locks (id, repo_id, path, owner_id) VALUES (${id}::uuid, ${repoId}, ${path}, ${ownerId})
      ON CONFLICT (repo_id, path) DO NOTHING RETURNING *
    )
    SELECT ${columns} FROM k JOIN namespaces n ON n.id = k.owner_id`)
  return row
}

/** Where a page of locks begins: after the lock of that time and id. */
export interface LockPosition {
  readonly lockedAt: Date
  readonly id: string
}

export interface LockQuery {
  readonly path?: Buffer | undefined
  readonly id?: string | undefined
  readonly after?: LockPosition | undefined
  readonly limit: number
}

/** Of one repository, oldest first. */
export async function listLocks(db: Queryable, repoId: number, { path, id, after, limit }: LockQuery): Promise<LockRow[]> {
  return db.query<LockRow>(sql`
    SELECT ${columns} FROM lfs_locks k JOIN namespaces n ON n.id = k.owner_id
    WHERE k.repo_id = ${repoId}
      AND (${path ?? null}::bytea IS NULL OR k.path = ${path ?? null}::bytea)
      AND (${id ?? null}::uuid IS NULL OR k.id = ${id ?? null}::uuid)
      AND (${after?.id ?? null}::uuid IS NULL OR (k.locked_at, k.id) > (${after?.lockedAt ?? null}::timestamptz, ${after?.id ?? null}::uuid))
    ORDER BY k.locked_at, k.id LIMIT ${limit}`)
}

/** Removes it, if the repository has it. */
export async function deleteLock(db: Queryable, repoId: number, id: string): Promise<LockRow | undefined> {
  const [row] = await db.query<LockRow>(sql`
    WITH k AS (DELETE FROM lfs_locks WHERE repo_id = ${repoId} AND id = ${id}::uuid RETURNING *)
    SELECT ${columns} FROM k JOIN namespaces n ON n.id = k.owner_id`)
  return row
}
