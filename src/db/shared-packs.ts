import type { Transaction } from './pool.js'
import { sql } from './sql.js'

/*
 * Packs of one repository that become packs of another as well: a row of its own over the same stored blobs. The other's links are what proves
 * that the bytes are there.
 */

/** Of each stored pack there are at least these. */
const blobsOfPack = ['pack', 'idx', 'rev', 'tbl']

/**
 * Locks packs of a locked repository against removal. Comes back with the keys of all blobs they need, files beside them included; undefined: one
 * of them is gone, or its bytes may be.
 */
export async function lockPacksToShare(tx: Transaction, repoId: number, packIds: readonly number[]): Promise<string[] | undefined> {
  const packs = await tx.query(sql`SELECT FROM packs WHERE repo_id = ${repoId} AND id = ANY (${packIds}::bigint[]) ORDER BY id FOR SHARE`)
  if (packs.length !== packIds.length) return undefined
  const links = await tx.query<{ key: string; kind: string }>(sql`SELECT key, kind FROM blob_link WHERE pack_id = ANY (${packIds}::bigint[])`)
  if (links.filter(({ kind }) => blobsOfPack.includes(kind)).length !== packs.length * blobsOfPack.length) return undefined
  return [...new Set(links.map(({ key }) => key))]
}

export interface SharedPacks {
  readonly fromRepoId: number
  /** Of packs that `lockPacksToShare` locked, and whose blobs are locked as live since. */
  readonly packIds: readonly number[]
  readonly repoId: number
  readonly updateId: string
  /** packs_ver of the repository that gets them, once this transaction is committed. */
  readonly changedVer: number
}

/** Adds the packs to a repository that has none, with links of its own to their blobs. Their bytes together. */
export async function insertSharedPacks(tx: Transaction, { fromRepoId, packIds, repoId, updateId, changedVer }: SharedPacks): Promise<number> {
  // In their order: of two packs the younger is searched first. What was marked as garbage since counts as what it is here.
  const made = await tx.query<{ bytes: number }>(sql`
    INSERT INTO packs (repo_id, sha256, sha1, bytes, objects, class, source, part, roots, external, idx_sha256, rev_sha256, tbl_sha256,
      midx_sha256, bitmap_sha256, graph_sha256, update_id, changed_ver)
    SELECT ${repoId}::bigint, sha256, sha1, bytes, objects, LEAST(class, 1), source, part, roots, external, idx_sha256, rev_sha256, tbl_sha256,
      midx_sha256, bitmap_sha256, graph_sha256, ${updateId}::uuid, ${changedVer}::bigint
    FROM packs WHERE repo_id = ${fromRepoId} AND id = ANY (${packIds}::bigint[]) ORDER BY id
    RETURNING bytes`)
  await tx.execute(sql`
    INSERT INTO blob_link (key, repo_id, pack_id, kind)
    SELECT l.key, ${repoId}::bigint, made.id, l.kind
    FROM packs made
    JOIN packs old ON old.sha256 = made.sha256 AND old.repo_id = ${fromRepoId} AND old.id = ANY (${packIds}::bigint[])
    JOIN blob_link l ON l.pack_id = old.id
    WHERE made.repo_id = ${repoId} AND made.update_id = ${updateId}::uuid
    ORDER BY l.key COLLATE "C"`)
  return made.reduce((sum, { bytes }) => sum + bytes, 0)
}
