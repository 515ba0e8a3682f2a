import type { PackRow } from './packs.js'
import type { Queryable, Transaction } from './pool.js'
import type { RepoType } from './repositories.js'
import { sql } from './sql.js'

/*
 * What a check of everything asks of the database: packs of any state, with all their names.
 */

export interface AnyPackRow extends PackRow {
  /** Not looked at: a repository does without. */
  readonly sideFiles: null
  /** Null: the pack is inline. */
  readonly idxSha256: Buffer | null
  readonly revSha256: Buffer | null
  /** For which of its blobs there is a link: `pack`, `idx`, `rev`, `tbl`, and what a collection left beside it. None of an inline pack. */
  readonly links: readonly string[]
}

/** All packs of a repository that may still have bytes, oldest first. Those out of use whose bytes a purge took are left out. */
export async function listAllPacks(db: Queryable, repoId: number): Promise<AnyPackRow[]> {
  return db.query<AnyPackRow>(sql`
    SELECT id, sha256, sha1, bytes, objects, class, state, source, roots, external, part, update_id AS "updateId", NULL AS "sideFiles",
      tbl_sha256 AS "tblSha256", idx_sha256 AS "idxSha256", rev_sha256 AS "revSha256",
      ARRAY(SELECT l.kind FROM blob_link l WHERE l.pack_id = p.id) AS links
    FROM packs p
    WHERE repo_id = ${repoId}
      AND (state <> 'retired' OR EXISTS (SELECT FROM blob_link l WHERE l.pack_id = p.id) OR EXISTS (SELECT FROM pack_inline i WHERE i.pack_id = p.id))
    ORDER BY id`)
}

/**
 * Has packs of a locked repository that are out of use be read again, as garbage: nothing relies on them. How many they were: fewer than were named
 * when the bytes of one are no longer its own.
 */
export async function reviveAsGarbage(tx: Transaction, repoId: number, packIds: readonly number[], changedVer: number): Promise<number> {
  return tx.execute(sql`
    UPDATE packs p SET state = 'garbage', class = 3, retired_at = NULL, created_at = now(), changed_ver = ${changedVer}
    WHERE repo_id = ${repoId} AND id = ANY (${packIds}::bigint[]) AND state = 'retired'
      AND (EXISTS (SELECT FROM blob_link l WHERE l.pack_id = p.id) OR EXISTS (SELECT FROM pack_inline i WHERE i.pack_id = p.id))`)
}

/** Whether any repository still reads a pack of these bytes. */
export async function isPackInUse(db: Queryable, sha256: Uint8Array): Promise<boolean> {
  const [row] = await db.query<{ used: boolean }>(sql`
    SELECT EXISTS (SELECT FROM packs WHERE sha256 = ${sha256} AND state <> 'retired') AS used`)
  return row!.used
}

export interface NamedRepository {
  readonly id: number
  readonly type: RepoType
  /** `namespace/name`. */
  readonly name: string
}

const namedColumns = sql`r.id, r.type, n.name || '/' || r.name AS name`

/** One page of living repositories: ids after `after`, in order. */
export async function listRepositoriesById(db: Queryable, after: number, limit: number): Promise<NamedRepository[]> {
  return db.query<NamedRepository>(sql`
    SELECT ${namedColumns} FROM repositories r JOIN namespaces n ON n.id = r.namespace_id
    WHERE r.id > ${after} AND r.deleted_at IS NULL ORDER BY r.id LIMIT ${limit}`)
}

/** Living repositories that link a large object, the first of them. */
export async function listLinkersOf(db: Queryable, sha256: Uint8Array, limit: number): Promise<NamedRepository[]> {
  return db.query<NamedRepository>(sql`
    SELECT ${namedColumns} FROM repo_large_object l JOIN repositories r ON r.id = l.repo_id JOIN namespaces n ON n.id = r.namespace_id
    WHERE l.sha256 = ${sha256} AND r.deleted_at IS NULL ORDER BY r.id LIMIT ${limit}`)
}
