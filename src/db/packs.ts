import type { Database, Queryable, Transaction } from './pool.js'
import { listRefs, type RefRow } from './refs.js'
import { ago, named, sql } from './sql.js'

/** What a snapshot is made under. */
export interface SnapshotRow {
  readonly refsVer: number
  readonly packsVer: number
  readonly gcEpoch: number
  readonly purgeEpoch: number
  /** Full ref name, bytes. */
  readonly headRef: Buffer
}

/** Undefined: there is no such repository. Hidden and deleted ones are found. */
export async function findSnapshotRow(db: Queryable, repoId: number): Promise<SnapshotRow | undefined> {
  const [row] = await db.query<{ refs_ver: number; packs_ver: number; gc_epoch: number; purge_epoch: number; head_ref: Buffer }>(
    named(
      'find-snapshot-row',
      sql`
    SELECT refs_ver, packs_ver, gc_epoch, purge_epoch, head_ref FROM repositories WHERE id = ${repoId}`,
    ),
  )
  return row && { refsVer: row.refs_ver, packsVer: row.packs_ver, gcEpoch: row.gc_epoch, purgeEpoch: row.purge_epoch, headRef: row.head_ref }
}

/** Commits, trees and tags of a closure, or its blobs. */
export type PackPart = 'meta' | 'blobs'

/** Files of git's own about two packs of one collection, each by its own SHA-256. */
export interface SideFileNames {
  readonly midx: Buffer
  readonly bitmap: Buffer
  readonly graph: Buffer
}

export interface PackRow {
  readonly id: number
  readonly sha256: Buffer
  /** What ends the pack: git names it by this. */
  readonly sha1: Buffer
  readonly bytes: number
  readonly objects: number
  readonly class: 0 | 1 | 2 | 3
  readonly state: 'live' | 'garbage' | 'retired'
  readonly source: 'receive' | 'api' | 'fold' | 'gc' | 'copy'
  readonly roots: Buffer | null
  readonly external: boolean
  /** What a collection put into it of what refs lead to; null: anything. */
  readonly part: PackPart | null
  /** Packs of one update share it. */
  readonly updateId: string
  /** Null: the pack is inline. */
  readonly tblSha256: Buffer | null
  /** About this pack and the blobs beside it; null: there are none. */
  readonly sideFiles: SideFileNames | null
}

interface ListedRow extends Omit<PackRow, 'tblSha256' | 'updateId' | 'sideFiles'> {
  readonly tbl_sha256: Buffer | null
  readonly update_id: string
  readonly midx_sha256: Buffer | null
  readonly bitmap_sha256: Buffer | null
  readonly graph_sha256: Buffer | null
}

/**
 * The packs of a repository whose rows changed after version `sinceVer`, oldest first; from 0 on, all there are.
 * Retired ones are told only to who may know them already.
 */
export async function listChangedPacks(db: Queryable, repoId: number, sinceVer: number): Promise<PackRow[]> {
  const rows = await db.query<ListedRow>(
    named(
      'list-changed-packs',
      sql`
    SELECT id, sha256, sha1, bytes, objects, class, state, source, roots, external, part, update_id, tbl_sha256,
      midx_sha256, bitmap_sha256, graph_sha256
    FROM packs
    WHERE repo_id = ${repoId} AND changed_ver > ${sinceVer} AND (${sinceVer}::bigint > 0 OR state <> 'retired')
    ORDER BY id`,
    ),
  )
  return rows.map(({ tbl_sha256, update_id, midx_sha256: midx, bitmap_sha256: bitmap, graph_sha256: graph, ...row }) => ({
    ...row,
    updateId: update_id,
    tblSha256: tbl_sha256,
    sideFiles: midx && bitmap && graph && { midx, bitmap, graph },
  }))
}

/** SHA-256 of the `.idx` of packs, by id; those that have none in a store are left out. */
export async function listIndexNames(db: Queryable, packIds: readonly number[]): Promise<ReadonlyMap<number, Buffer>> {
  const rows = await db.query<{ id: number; idx_sha256: Buffer }>(
    sql`SELECT id, idx_sha256 FROM packs WHERE id = ANY (${packIds}::bigint[]) AND idx_sha256 IS NOT NULL`,
  )
  return new Map(rows.map(({ id, idx_sha256 }) => [id, idx_sha256]))
}

export interface InlineRow {
  readonly packId: number
  readonly pack: Buffer
  readonly tbl: Buffer
}

/** The bytes of inline packs, in no order. Ask for few at a time: each may have 128 KiB and a table. */
export async function readInline(db: Queryable, packIds: readonly number[]): Promise<InlineRow[]> {
  if (packIds.length === 0) return []
  const rows = await db.query<{ pack_id: number; pack: Buffer; tbl: Buffer }>(
    named(
      'read-inline',
      sql`
    SELECT pack_id, pack, tbl FROM pack_inline WHERE pack_id = ANY (${packIds}::bigint[])`,
    ),
  )
  return rows.map(({ pack_id, pack, tbl }) => ({ packId: pack_id, pack, tbl }))
}

export interface NewPack {
  readonly repoId: number
  readonly updateId: string
  readonly sha256: Uint8Array
  readonly sha1: Uint8Array
  readonly bytes: number
  readonly objects: number
  readonly class: 0 | 1 | 2 | 3
  readonly source: PackRow['source']
  /** `garbage`: kept for the retention time, and never relied on. */
  readonly state?: 'live' | 'garbage'
  readonly part?: PackPart | undefined
  readonly roots: Uint8Array | null
  readonly external: boolean
  /** packs_ver of the repository once this transaction is committed. */
  readonly changedVer: number
  readonly stored:
    | { readonly kind: 'inline'; readonly pack: Uint8Array; readonly idx: Uint8Array; readonly tbl: Uint8Array }
    | { readonly kind: 'blobs'; readonly idxSha256: Uint8Array; readonly revSha256: Uint8Array; readonly tblSha256: Uint8Array }
}

/**
 * Adds a pack to a locked repository. One that is live there already stays as it is, except that it gets the more visible class
 * (`inserted` false): two pushes of the same bytes are one pack.
 */
export async function insertPack(tx: Transaction, pack: NewPack): Promise<{ readonly packId: number; readonly inserted: boolean }> {
  const { stored } = pack
  const sidecars = stored.kind === 'blobs' ? stored : undefined
  const inline = stored.kind === 'inline' ? stored : undefined
  const [row] = await tx.query<{ id: number; inserted: boolean }>(
    named(
      'insert-pack',
      sql`
    WITH made AS (
      INSERT INTO packs (
        repo_id, sha256, sha1, bytes, objects, class, source, state, part, roots, external, idx_sha256, rev_sha256, tbl_sha256, update_id, changed_ver)
      VALUES (
        ${pack.repoId}, ${pack.sha256}, ${pack.sha1}, ${pack.bytes}, ${pack.objects}, ${pack.class}, ${pack.source}, ${pack.state ?? 'live'},
        ${pack.part ?? null}, ${pack.roots}, ${pack.external},
        ${sidecars?.idxSha256 ?? null}, ${sidecars?.revSha256 ?? null}, ${sidecars?.tblSha256 ?? null}, ${pack.updateId}::uuid, ${pack.changedVer})
      ON CONFLICT (repo_id, sha256) WHERE state = 'live' DO UPDATE SET
        class = LEAST(packs.class, EXCLUDED.class),
        changed_ver = CASE WHEN EXCLUDED.class < packs.class THEN EXCLUDED.changed_ver ELSE packs.changed_ver END
      RETURNING id, update_id = ${pack.updateId}::uuid AS inserted
    ), put AS (
      INSERT INTO pack_inline (pack_id, pack, idx, tbl)
      SELECT id, ${inline?.pack ?? null}::bytea, ${inline?.idx ?? null}::bytea, ${inline?.tbl ?? null}::bytea
      FROM made WHERE inserted AND ${inline !== undefined}::boolean
    )
    SELECT id, inserted FROM made`,
    ),
  )
  const { id: packId, inserted } = row!
  return { packId, inserted }
}

/**
 * Writes down the files beside two packs of a locked repository, on the row of the first. False: one of the two is no longer live. `changedVer`:
 * packs_ver once this transaction is committed.
 */
export async function setSideFiles(
  tx: Transaction,
  { repoId, meta, blobs, files, changedVer }: { repoId: number; meta: number; blobs: number; files: SideFileNames; changedVer: number },
): Promise<boolean> {
  const changed = await tx.execute(sql`
    UPDATE packs SET midx_sha256 = ${files.midx}, bitmap_sha256 = ${files.bitmap}, graph_sha256 = ${files.graph}, changed_ver = ${changedVer}
    WHERE id = ${meta} AND repo_id = ${repoId} AND state = 'live'
      AND EXISTS (SELECT FROM packs b WHERE b.id = ${blobs} AND b.repo_id = ${repoId} AND b.state = 'live')`)
  return changed === 1
}

/** Repositories in which so many packs stand side by side that folding may be worth it, the fullest first. */
export async function listFoldCandidates(
  db: Queryable,
  { maxInline, maxInlineBytes, maxPacks }: { readonly maxInline: number; readonly maxInlineBytes: number; readonly maxPacks: number },
): Promise<number[]> {
  const rows = await db.query<{ repo_id: number }>(sql`
    SELECT p.repo_id FROM packs p JOIN repositories r ON r.id = p.repo_id
    WHERE p.state = 'live' AND p.class < 2 AND r.deleted_at IS NULL
    GROUP BY p.repo_id
    HAVING count(*) > ${maxPacks}::int OR count(*) FILTER (WHERE p.tbl_sha256 IS NULL) > ${maxInline}::int
      OR sum(p.bytes) FILTER (WHERE p.tbl_sha256 IS NULL) > ${maxInlineBytes}::bigint
    ORDER BY count(*) DESC, p.repo_id`)
  return rows.map(({ repo_id }) => repo_id)
}

/**
 * Takes live packs of a locked repository out of use: snapshots that know them still read them, new ones do not. Comes back with those that were
 * live. `changedVer`: packs_ver once this transaction is committed.
 */
export async function retirePacks(
  tx: Transaction,
  repoId: number,
  packIds: readonly number[],
  changedVer: number,
): Promise<{ readonly packs: number; readonly bytes: number }> {
  const rows = await tx.query<{ bytes: number }>(sql`
    UPDATE packs SET state = 'retired', retired_at = now(), changed_ver = ${changedVer}
    WHERE repo_id = ${repoId} AND id = ANY (${packIds}::bigint[]) AND state = 'live' RETURNING bytes`)
  return { packs: rows.length, bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/** Refs of a repository with the version they belong to, hidden ones as well. */
export function readRefsAt(db: Database, repoId: number): Promise<{ readonly refsVer: number; readonly refs: readonly RefRow[] } | undefined> {
  return db.transaction(
    async (tx) => {
      const row = await findSnapshotRow(tx, repoId)
      return row && { refsVer: row.refsVer, refs: await listRefs(tx, repoId) }
    },
    { isolation: 'repeatable read', readOnly: true },
  )
}

/** Garbage packs that were made so long ago, by id. */
export async function listOldGarbage(db: Queryable, repoId: number, garbageMs: number): Promise<number[]> {
  const rows = await db.query<{ id: number }>(sql`
    SELECT id FROM packs WHERE repo_id = ${repoId} AND state = 'garbage' AND created_at <= ${ago(garbageMs)} ORDER BY id`)
  return rows.map(({ id }) => id)
}

/** Takes garbage packs out of use. How many there were. */
export async function retireGarbage(tx: Transaction, repoId: number, packIds: readonly number[], changedVer: number): Promise<number> {
  return tx.execute(sql`
    UPDATE packs SET state = 'retired', retired_at = now(), changed_ver = ${changedVer}
    WHERE repo_id = ${repoId} AND id = ANY (${packIds}::bigint[]) AND state = 'garbage'`)
}

/** Writes down that a collection of a repository ended, which saw its refs in this version. */
export async function markCollected(db: Queryable, repoId: number, refsVer: number): Promise<void> {
  await db.execute(sql`UPDATE repositories SET collected_at = now(), collected_refs_ver = ${refsVer} WHERE id = ${repoId}`)
}

/**
 * Repositories worth a collection: refs moved since the last one, and more than a tenth of their objects lies in packs that no collection made,
 * or it was so long ago; or there is garbage that was kept for long enough. The fullest first.
 */
export async function listCollectCandidates(
  db: Queryable,
  { restMs, garbageMs }: { readonly restMs: number; readonly garbageMs: number },
): Promise<number[]> {
  const rows = await db.query<{ id: number }>(sql`
    SELECT r.id
    FROM repositories r JOIN packs p ON p.repo_id = r.id
    WHERE r.deleted_at IS NULL AND p.state <> 'retired'
    GROUP BY r.id
    HAVING bool_or(p.state = 'garbage' AND p.created_at <= ${ago(garbageMs)})
      OR (r.refs_ver <> r.collected_refs_ver AND (
        r.collected_at <= ${ago(restMs)}
        OR sum(p.objects) FILTER (WHERE p.state = 'live' AND p.source <> 'gc') * 10 > sum(p.objects) FILTER (WHERE p.state = 'live')))
    ORDER BY sum(p.objects) DESC, r.id`)
  return rows.map(({ id }) => id)
}

/** Takes their bytes from all packs of a repository that are out of use: nobody reads them again. Comes back with the keys of blobs they had. */
export async function stripRetiredPacks(tx: Transaction, repoId: number): Promise<string[]> {
  const retired = sql`SELECT id FROM packs WHERE repo_id = ${repoId} AND state = 'retired'`
  await tx.execute(sql`DELETE FROM pack_inline WHERE pack_id IN (${retired})`)
  const rows = await tx.query<{ key: string }>(sql`DELETE FROM blob_link WHERE pack_id IN (${retired}) RETURNING key`)
  return [...new Set(rows.map(({ key }) => key))]
}

/** Removes the rows of packs that have been out of use for so long, `limit` at most, and with them their claims on stored bytes. How many. */
export async function removeRetiredPacks(tx: Transaction, retiredMs: number, limit: number): Promise<number> {
  const rows = await tx.query<{ id: number }>(sql`
    SELECT id FROM packs WHERE state = 'retired' AND retired_at <= ${ago(retiredMs)} ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED`)
  const ids = rows.map(({ id }) => id)
  if (ids.length === 0) return 0
  await tx.execute(sql`DELETE FROM blob_link WHERE pack_id = ANY (${ids}::bigint[])`)
  return tx.execute(sql`DELETE FROM packs WHERE id = ANY (${ids}::bigint[])`)
}
