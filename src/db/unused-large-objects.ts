import type { Queryable, Transaction } from './pool.js'
import { allSha256Bytes, sha256Bytes } from './sha256-bytes.js'
import { ago, sql } from './sql.js'

/*
 * What the collector of large objects asks and does. A link that nothing in its repository points to any more is marked, and removed when it
 * has been marked for long; an object without links the same. Rows are locked in the order that `large-objects` gives.
 */

export interface LinkingRepository {
  readonly id: number
  /** What the refs stood at. */
  readonly refsVer: number
  /** Deleted: nothing in it counts. Links of one deleted within the grace are left alone all the same. */
  readonly deleted: 'no' | 'lately' | 'long-ago'
}

/** One page of the repositories that link objects: ids after `after`, in order. */
export async function listLinkers(db: Queryable, graceMs: number, after: number, limit: number): Promise<LinkingRepository[]> {
  return db.query<LinkingRepository>(sql`
    SELECT r.id, ${refsColumns(graceMs)} FROM repositories r
    WHERE r.id > ${after} AND EXISTS (SELECT FROM repo_large_object l WHERE l.repo_id = r.id) ORDER BY r.id LIMIT ${limit}`)
}

export async function findLinker(db: Queryable, graceMs: number, repoId: number): Promise<LinkingRepository | undefined> {
  const [row] = await db.query<LinkingRepository>(sql`SELECT r.id, ${refsColumns(graceMs)} FROM repositories r WHERE r.id = ${repoId}`)
  return row
}

const refsColumns = (graceMs: number) => sql`
  r.refs_ver AS "refsVer",
  CASE WHEN r.deleted_at IS NULL THEN 'no' WHEN r.deleted_at <= ${ago(graceMs)} THEN 'long-ago' ELSE 'lately' END AS deleted`

export interface LinkRow {
  readonly oid: string
  readonly size: number
  readonly marked: boolean
  /** Not seen for half the grace, or for all of it. */
  readonly halfUnseen: boolean
  readonly unseen: boolean
  /** Marked for so long that it may go. */
  readonly due: boolean
}

/** All links of a repository, by oid. */
export async function listLinks(db: Queryable, repoId: number, unseenMs: number, markedMs: number): Promise<LinkRow[]> {
  return db.query<LinkRow>(sql`
    SELECT encode(l.sha256, 'hex') AS oid, o.size, l.unlinked_at IS NOT NULL AS marked,
      l.last_seen <= ${ago(unseenMs / 2)} AS "halfUnseen", l.last_seen <= ${ago(unseenMs)} AS unseen,
      COALESCE(l.unlinked_at <= ${ago(markedMs)}, false) AS due
    FROM repo_large_object l JOIN large_object o ON o.sha256 = l.sha256 WHERE l.repo_id = ${repoId} ORDER BY l.sha256`)
}

/** Keeps refs and deletion of the repository as they are until the transaction ends. False: they are not as they were found. */
export async function lockRefsAsFound(tx: Transaction, { id, refsVer, deleted }: LinkingRepository): Promise<boolean> {
  const [row] = await tx.query<{ refs_ver: number; deleted: boolean }>(sql`
    SELECT refs_ver, deleted_at IS NOT NULL AS deleted FROM repositories WHERE id = ${id} FOR SHARE`)
  return row !== undefined && row.refs_ver === refsVer && row.deleted === (deleted !== 'no')
}

/** Locks links of a repository, by oid, so that the statements that follow see what others did to them. */
export async function lockLinks(tx: Transaction, repoId: number, oids: readonly string[]): Promise<void> {
  await tx.query(sql`
    SELECT FROM repo_large_object WHERE repo_id = ${repoId} AND sha256 = ANY (${allSha256Bytes(oids)}::bytea[]) ORDER BY sha256 FOR UPDATE`)
}

/** Marks those of the links that are still unseen for so long. How many. */
export async function markLinks(tx: Transaction, repoId: number, oids: readonly string[], unseenMs: number): Promise<number> {
  if (oids.length === 0) return 0
  return tx.execute(sql`
    UPDATE repo_large_object SET unlinked_at = now()
    WHERE repo_id = ${repoId} AND sha256 = ANY (${allSha256Bytes(oids)}::bytea[]) AND unlinked_at IS NULL AND last_seen <= ${ago(unseenMs)}`)
}

/** Removes those of the links that are still marked for so long. Their oids. */
export async function removeLinks(tx: Transaction, repoId: number, oids: readonly string[], markedMs: number): Promise<string[]> {
  if (oids.length === 0) return []
  const rows = await tx.query<{ oid: string }>(sql`
    DELETE FROM repo_large_object
    WHERE repo_id = ${repoId} AND sha256 = ANY (${allSha256Bytes(oids)}::bytea[]) AND unlinked_at <= ${ago(markedMs)}
    RETURNING encode(sha256, 'hex') AS oid`)
  return rows.map(({ oid }) => oid)
}

const isUnlinked = sql`NOT EXISTS (SELECT FROM repo_large_object l WHERE l.sha256 = o.sha256)`

export interface UnlinkedRow {
  readonly oid: string
  readonly size: number
}

/** Objects that nothing links and that are not marked. */
export async function countUnlinkedObjects(db: Queryable): Promise<number> {
  const [row] = await db.query<{ n: number }>(sql`SELECT count(*) AS n FROM large_object o WHERE unlinked_at IS NULL AND ${isUnlinked}`)
  return row!.n
}

/** Takes the mark from objects that are linked again, and gives it to those that are not. How many were marked. What changes meanwhile is found when one is removed. */
export async function markUnlinkedObjects(db: Queryable): Promise<number> {
  await db.execute(sql`
    UPDATE large_object o SET unlinked_at = NULL
    WHERE o.sha256 IN (SELECT m.sha256 FROM large_object m JOIN repo_large_object l ON l.sha256 = m.sha256 WHERE m.unlinked_at IS NOT NULL ORDER BY m.sha256 FOR NO KEY UPDATE OF m)`)
  return db.execute(sql`
    UPDATE large_object o SET unlinked_at = now()
    WHERE o.sha256 IN (SELECT o.sha256 FROM large_object o WHERE o.unlinked_at IS NULL AND ${isUnlinked} ORDER BY o.sha256 FOR NO KEY UPDATE)`)
}

/** One page of objects that are marked for so long, and that nothing links: oids after `after`, in order. */
export async function listUnlinkedObjects(db: Queryable, markedMs: number, after: string, limit: number): Promise<UnlinkedRow[]> {
  return db.query<UnlinkedRow>(sql`
    SELECT encode(o.sha256, 'hex') AS oid, o.size FROM large_object o
    WHERE o.sha256 > ${sha256Bytes(after)} AND o.unlinked_at <= ${ago(markedMs)} AND ${isUnlinked} ORDER BY o.sha256 LIMIT ${limit}`)
}

/** Locks an object if it is still marked for so long. It says nothing of links: these are asked for by a statement that begins once the lock is had. */
export async function lockUnlinkedObject(tx: Transaction, oid: string, markedMs: number): Promise<boolean> {
  const rows = await tx.query(sql`
    SELECT FROM large_object WHERE sha256 = ${sha256Bytes(oid)} AND unlinked_at <= ${ago(markedMs)} FOR UPDATE`)
  return rows.length === 1
}

/** Removes a locked object and what it is made of, unless a repository links it. Its blob is the matter of the collector of blobs. */
export async function removeUnlinkedObject(tx: Transaction, oid: string): Promise<boolean> {
  const [row] = await tx.query<{ unlinked: boolean }>(sql`SELECT ${isUnlinked} AS unlinked FROM large_object o WHERE sha256 = ${sha256Bytes(oid)}`)
  if (!row?.unlinked) return false
  await tx.execute(sql`DELETE FROM representation WHERE sha256 = ${sha256Bytes(oid)}`)
  return (await tx.execute(sql`DELETE FROM large_object WHERE sha256 = ${sha256Bytes(oid)}`)) === 1
}

/** Takes links away, whatever may point to them. How many there were. */
export async function unlinkNow(tx: Transaction, repoId: number, oids: readonly string[]): Promise<number> {
  if (oids.length === 0) return 0
  return tx.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${repoId} AND sha256 = ANY (${allSha256Bytes(oids)}::bytea[])`)
}
