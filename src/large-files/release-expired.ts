import type { Database } from '../db/pool.js'
import { findStagingKeys, listExpiredUploads, removeExpiredUpload } from '../db/lfs-uploads.js'
import type { BlobInfo, BlobStore } from '../storage/blob-store.js'
import { parseBlobKey, stagingKey } from '../storage/keys.js'

/** What one run did. */
export interface ReleasedUploads {
  /** Rows that went, reservations and broken-off uploads alike. */
  readonly uploads: number
  /** Bytes that are not reserved any more. */
  readonly reservedBytes: number
  /** Staged bytes that no row named, and that were old enough to belong to nobody. */
  readonly strays: number
  /** What could not be done; another run tries again. */
  readonly failed: readonly { readonly id: string; readonly error: unknown }[]
}

export interface ReleaseDependencies {
  readonly db: Database
  readonly store: BlobStore
  /** Clients put bytes there themselves. */
  readonly direct: boolean
  /** Ids of uploads that this process is receiving: however late, they are not taken for dead. */
  readonly receiving: ReadonlySet<string>
  /** Age from which staged bytes without a row are strays. Far longer than from the end of a store's work to its caller's next step. */
  readonly strayAfterMs: number
}

const pageRows = 1000
const firstId = '00000000-0000-0000-0000-000000000000'

/**
 * Lets go of uploads that have expired, bytes first, then the row by which they are found. Should one be alive after all, its bytes are not
 * there when they are to be promoted: it fails, and can be sent again.
 */
export function createReleaseExpired({ db, store, direct, receiving, strayAfterMs }: ReleaseDependencies): () => Promise<ReleasedUploads> {
  return async () => {
    let uploads = 0
    let reserved = 0
    const failed: { id: string; error: unknown }[] = []
    for (let after = firstId; ; ) {
      const rows = await listExpiredUploads(db, after, pageRows)
      for (const { id, key, reservedBytes } of rows) {
        if (receiving.has(id)) continue
        try {
          // A client may have put bytes under a reservation's own id.
          if (key !== null || direct) await store.delete(key === null ? stagingKey(id) : parseBlobKey(key))
          if (!(await removeExpiredUpload(db, id))) continue
          uploads += 1
          reserved += reservedBytes
        } catch (error) {
          failed.push({ id, error })
        }
      }
      if (rows.length < pageRows) break
      after = rows.at(-1)!.id
    }
    return { uploads, reservedBytes: reserved, strays: await removeStrays(), failed }
  }

  /** Bytes that came to a place after their row had gone. */
  async function removeStrays(): Promise<number> {
    let removed = 0
    const before = Date.now() - strayAfterMs
    const page: BlobInfo[] = []
    const removePage = async () => {
      const named = await findStagingKeys(
        db,
        page.map(({ key }) => key),
      )
      for (const { key } of page.splice(0).filter(({ key }) => !named.includes(key))) {
        await store.delete(key)
        removed += 1
      }
    }
    for await (const info of store.list('staging/')) {
      if (info.modifiedAt.getTime() <= before) page.push(info)
      if (page.length >= pageRows) await removePage()
    }
    if (page.length > 0) await removePage()
    return removed
  }
}
