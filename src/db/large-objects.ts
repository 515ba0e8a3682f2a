import type { Queryable, Transaction } from './pool.js'
import { allSha256Bytes, sha256Bytes } from './sha256-bytes.js'
import { named, sql } from './sql.js'
import { repoColumns, toRepo, type RepoRow, type RepoState } from './versions.js'

/*
 * `large_object`, `representation` and `repo_large_object`. An oid is a SHA-256, 64 hex digits here and bytes in the tables.
 *
 * Whoever locks several rows locks them in this order, and rows of one table by their oids: repositories, stored_blob, large_object,
 * representation, repo_large_object, lfs_upload. Only links that are renewed come before objects, which are then locked for new links alone.
 */

export interface ObjectRow {
  readonly oid: string
  /** Bytes, as they were counted. */
  readonly size: number
}

/** Those that the repository links. */
export async function findLinkedObjects(db: Queryable, repoId: number, oids: readonly string[]): Promise<ObjectRow[]> {
  if (oids.length === 0) return []
  return db.query<ObjectRow>(
    named(
      'find-linked-objects',
      sql`
    SELECT encode(l.sha256, 'hex') AS oid, o.size FROM repo_large_object l JOIN large_object o ON o.sha256 = l.sha256
    WHERE l.repo_id = ${repoId} AND l.sha256 = ANY (${allSha256Bytes(oids)}::bytea[])`,
    ),
  )
}

/**
 * Those that the repository links, in use from now on and not to be removed before the transaction ends. What is not in the answer is not
 * linked. Whoever is about to point to objects asks this, in the transaction that makes the pointer.
 */
export async function renewLinks(tx: Transaction, repoId: number, oids: readonly string[]): Promise<ObjectRow[]> {
  if (oids.length === 0) return []
  return tx.query<ObjectRow>(sql`
    WITH linked AS (
      SELECT sha256 FROM repo_large_object WHERE repo_id = ${repoId} AND sha256 = ANY (${allSha256Bytes(oids)}::bytea[])
      ORDER BY sha256 FOR NO KEY UPDATE
    )
    UPDATE repo_large_object l SET last_seen = now(), unlinked_at = NULL
    FROM linked JOIN large_object o ON o.sha256 = linked.sha256
    WHERE l.repo_id = ${repoId} AND l.sha256 = linked.sha256
    RETURNING encode(l.sha256, 'hex') AS oid, o.size`)
}

/** Keeps the repository from being deleted until the transaction ends. False: it is deleted, or never was. */
export async function lockLiveRepository(tx: Transaction, repoId: number): Promise<boolean> {
  return (
    (await tx.query(named('lock-live-repository', sql`SELECT FROM repositories WHERE id = ${repoId} AND deleted_at IS NULL FOR SHARE`))).length === 1
  )
}

/** Of an object that very many link not all repositories are asked about. Public ones come first. */
const maxLinkersEach = 100

/** Living repositories that link any of the objects, public ones first. */
export async function listLinkingRepositories(db: Queryable, oids: readonly string[]): Promise<RepoState[]> {
  const rows = await db.query<RepoRow>(sql`
    SELECT ${repoColumns} FROM repositories r JOIN namespaces n ON n.id = r.namespace_id
    WHERE r.id IN (
      SELECT linker.repo_id FROM unnest(${allSha256Bytes(oids)}::bytea[]) AS wanted (sha256)
      CROSS JOIN LATERAL (
        SELECT l.repo_id FROM repo_large_object l JOIN repositories lr ON lr.id = l.repo_id
        WHERE l.sha256 = wanted.sha256 AND lr.deleted_at IS NULL
        ORDER BY lr.visibility = 'public' AND lr.gated IS NULL DESC, l.last_seen DESC LIMIT ${maxLinkersEach}
      ) AS linker
    )
    ORDER BY r.visibility = 'public' AND r.gated IS NULL DESC, r.id`)
  return rows.map((row) => toRepo(row, row.repo_id!))
}

/**
 * Links those objects that one of the other repositories links, and that are of the size said. Comes back with what is linked now. An
 * object that is just being removed is waited for, and then is none.
 */
export async function linkFromRepositories(
  tx: Transaction,
  repoId: number,
  objects: readonly ObjectRow[],
  fromRepoIds: readonly number[],
): Promise<ObjectRow[]> {
  // In statements of their own: the second sees what was committed while the first waited, links that are gone now among it.
  const locked = await tx.query<ObjectRow>(sql`
    SELECT encode(o.sha256, 'hex') AS oid, o.size
    FROM large_object o JOIN unnest(${allSha256Bytes(objects.map(({ oid }) => oid))}::bytea[], ${objects.map(({ size }) => size)}::bigint[]) AS w (sha256, size)
      ON w.sha256 = o.sha256 AND w.size = o.size
    ORDER BY o.sha256 FOR KEY SHARE OF o`)
  if (locked.length === 0) return []
  const linked = await tx.query<{ oid: string }>(sql`
    INSERT INTO repo_large_object (repo_id, sha256)
    SELECT ${repoId}::bigint, w.sha256 FROM unnest(${allSha256Bytes(locked.map(({ oid }) => oid))}::bytea[]) AS w (sha256)
    WHERE EXISTS (
      SELECT FROM repo_large_object l JOIN repositories r ON r.id = l.repo_id
      WHERE l.sha256 = w.sha256 AND l.repo_id = ANY (${fromRepoIds}::bigint[]) AND r.deleted_at IS NULL)
    ORDER BY w.sha256
    ON CONFLICT (repo_id, sha256) DO UPDATE SET last_seen = now(), unlinked_at = NULL
    RETURNING encode(sha256, 'hex') AS oid`)
  const oids = new Set(linked.map(({ oid }) => oid))
  return locked.filter(({ oid }) => oids.has(oid))
}

/**
 * Writes down an object whose bytes were verified and kept under `key`, and links it. The transaction has locked the repository as living
 * and the blob as live.
 * An update and not `DO NOTHING`: it waits for who is about to remove the row, and then makes it anew.
 */
export async function linkVerifiedObject(tx: Transaction, repoId: number, { oid, size }: ObjectRow, key: string): Promise<void> {
  const sha256 = sha256Bytes(oid)
  // One after another as far as the database goes: what a later one refers to is there.
  await Promise.all([
    tx.execute(
      named(
        'link-object-1',
        sql`INSERT INTO large_object (sha256, size) VALUES (${sha256}, ${size}) ON CONFLICT (sha256) DO UPDATE SET unlinked_at = NULL`,
      ),
    ),
    tx.execute(named('link-object-2', sql`INSERT INTO representation (sha256, kind, key) VALUES (${sha256}, 'flat', ${key}) ON CONFLICT DO NOTHING`)),
    tx.execute(
      named(
        'link-object-3',
        sql`
    INSERT INTO repo_large_object (repo_id, sha256) VALUES (${repoId}, ${sha256})
    ON CONFLICT (repo_id, sha256) DO UPDATE SET last_seen = now(), unlinked_at = NULL`,
      ),
    ),
  ])
}

/** The key of the blob that holds the whole object, if one does. */
export async function findFlatKey(db: Queryable, oid: string): Promise<string | undefined> {
  const [row] = await db.query<{ key: string }>(
    named('find-flat-key', sql`SELECT key FROM representation WHERE sha256 = ${sha256Bytes(oid)} AND kind = 'flat'`),
  )
  return row?.key
}
