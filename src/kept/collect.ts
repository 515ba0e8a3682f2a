import { isLockTimeout, type Database, type Transaction } from '../db/pool.js'
import {
  claimDeleting,
  insertDeleting,
  isBlobLinked,
  listUnusedBlobs,
  listWaitingBlobs,
  lockBlob,
  lockDoomedBlob,
  lockUnusedBlob,
  removeDeleted,
  setBlobState,
  type BlobPage,
  type BlobRow,
} from '../db/stored-blobs.js'
import type { BlobStore } from '../storage/blob-store.js'
import { parseBlobKey } from '../storage/keys.js'

export interface CollectorOptions {
  readonly db: Database
  readonly store: BlobStore
  /** How long a blob that nothing links stays live after it was kept. Longer than any update may take: `maxUpdateMs`. */
  readonly unusedGraceMs: number
  /** How long a blob stays doomed before its bytes go. Longer than any update may take. */
  readonly doomedGraceMs: number
  /**
   * How long a delete may still take effect after its answer was given up. A row left in `deleting` rests for twice as long before
   * anybody tries again: a late delete must not meet bytes that were stored anew.
   */
  readonly storeTimeoutMs: number
  /** How long a row that somebody has locked is waited for. */
  readonly lockWaitMs?: number
}

/** What one run did, or would do. Sizes are those of the rows, bytes. */
export interface Collection {
  readonly doomed: readonly BlobRow[]
  readonly deleted: readonly BlobRow[]
  /** Bytes that could not be deleted; another run tries again. */
  readonly failed: readonly { readonly key: string; readonly error: unknown }[]
}

/**
 * The deleting half of a blob's life: live → doomed → deleting → gone, each step committed before the next, all waiting by the database's
 * clock. One collector in a process; hubs may run one each.
 */
export interface Collector {
  /** live → doomed. False: it is linked, was kept lately, is locked, or is not live. */
  doom(key: string): Promise<boolean>
  /** doomed → deleting → bytes → row. False: it is linked (and live again), was revived, is locked, or has not waited long enough. */
  finish(key: string): Promise<boolean>
  /**
   * live or doomed → deleting → bytes → row, at once, for what must be gone: who keeps it just now and has not linked it keeps it anew. False: it
   * is linked, is locked, or is being deleted.
   */
  purge(key: string): Promise<boolean>
  /**
   * Deletes bytes that have no row, under a row in `deleting` that is made for it. False: there is a row by now, whose bytes stay. When it throws,
   * the row is left, and `finishDeleting` goes on.
   */
  removeOrphan(orphan: BlobRow): Promise<boolean>
  /** Deletes the bytes of every row that was left in `deleting`. At start, and every minute. */
  finishDeleting(): Promise<Pick<Collection, 'deleted' | 'failed'>>
  /** One run: all that is due. With `dryRun` nothing is touched, and what the run would find is listed. */
  collect(options?: { readonly dryRun?: boolean }): Promise<Collection>
}

const pageRows = 1000

export function createCollector(options: CollectorOptions): Collector {
  const { db, store, unusedGraceMs, doomedGraceMs, storeTimeoutMs, lockWaitMs = 1_000 } = options
  const restMs = 2 * storeTimeoutMs
  /** Being deleted by this process: however long that takes, nobody here begins again. */
  const underWay = new Set<string>()

  const listUnused = (page: BlobPage) => listUnusedBlobs(db, unusedGraceMs, page)
  const listDoomed = (page: BlobPage) => listWaitingBlobs(db, 'doomed', doomedGraceMs, page)
  const listDeleting = (page: BlobPage) => listWaitingBlobs(db, 'deleting', restMs, page)

  /** Undefined: somebody has the row locked, so somebody needs it. */
  const withRow = <T>(work: (tx: Transaction) => Promise<T | undefined>): Promise<T | undefined> =>
    db.transaction(work, { lockTimeoutMs: lockWaitMs }).catch((error: unknown) => {
      if (!isLockTimeout(error)) throw error
      return undefined
    })

  /** Under the claim that `deleting` was committed with. A row whose bytes may still be there stays. */
  const deleteBytes = async (key: string, claim: string): Promise<boolean> => {
    await store.delete(parseBlobKey(key))
    return removeDeleted(db, key, claim)
  }

  const exclusively = async (key: string, work: () => Promise<boolean>): Promise<boolean> => {
    if (underWay.has(key)) return false
    underWay.add(key)
    try {
      return await work()
    } finally {
      underWay.delete(key)
    }
  }

  const doom = async (key: string): Promise<boolean> => {
    const doomed = await withRow(async (tx) => {
      if (!(await lockUnusedBlob(tx, key, unusedGraceMs))) return false
      // A second statement, which sees what was committed while the first waited for the lock.
      if (await isBlobLinked(tx, key)) return false
      await setBlobState(tx, key, 'doomed')
      return true
    })
    return doomed ?? false
  }

  const finish = (key: string): Promise<boolean> =>
    exclusively(key, async () => {
      const claim = await withRow(async (tx) => {
        if (!(await lockDoomedBlob(tx, key, doomedGraceMs))) return undefined
        const linked = await isBlobLinked(tx, key)
        const claim = await setBlobState(tx, key, linked ? 'live' : 'deleting')
        return linked ? undefined : claim
      })
      return claim !== undefined && deleteBytes(key, claim)
    })

  const purge = (key: string): Promise<boolean> =>
    exclusively(key, async () => {
      const claim = await withRow(async (tx) => {
        if (!(await lockBlob(tx, key))) return undefined
        if (await isBlobLinked(tx, key)) return undefined
        return setBlobState(tx, key, 'deleting')
      })
      return claim !== undefined && deleteBytes(key, claim)
    })

  const removeOrphan = (orphan: BlobRow): Promise<boolean> =>
    exclusively(orphan.key, async () => {
      const claim = await insertDeleting(db, orphan)
      return claim !== undefined && deleteBytes(orphan.key, claim)
    })

  const finishOne = (key: string): Promise<boolean> =>
    exclusively(key, async () => {
      const claim = await claimDeleting(db, key, restMs)
      return claim !== undefined && deleteBytes(key, claim)
    })

  /** One blob that cannot be deleted keeps nobody from deleting the others. */
  const deleteAll = async (pages: AsyncIterable<BlobRow>, deleteOne: (key: string) => Promise<boolean>) => {
    const deleted: BlobRow[] = []
    const failed: { key: string; error: unknown }[] = []
    for await (const row of pages) {
      try {
        if (await deleteOne(row.key)) deleted.push(row)
      } catch (error) {
        failed.push({ key: row.key, error })
      }
    }
    return { deleted, failed }
  }

  const finishDeleting = () => deleteAll(allRows(listDeleting), finishOne)

  return {
    doom,
    finish,
    purge,
    removeOrphan,
    finishDeleting,

    async collect({ dryRun = false } = {}) {
      if (dryRun) {
        return {
          doomed: await toArray(allRows(listUnused)),
          deleted: [...(await toArray(allRows(listDeleting))), ...(await toArray(allRows(listDoomed)))],
          failed: [],
        }
      }
      const left = await finishDeleting()
      const due = await deleteAll(allRows(listDoomed), finish)
      const doomed: BlobRow[] = []
      for await (const row of allRows(listUnused)) if (await doom(row.key)) doomed.push(row)
      return { doomed, deleted: [...left.deleted, ...due.deleted], failed: [...left.failed, ...due.failed] }
    },
  }
}

async function* allRows(list: (page: BlobPage) => Promise<BlobRow[]>): AsyncGenerator<BlobRow> {
  for (let after = ''; ; ) {
    const rows = await list({ after, limit: pageRows })
    yield* rows
    if (rows.length < pageRows) return
    after = rows.at(-1)!.key
  }
}

async function toArray<T>(items: AsyncIterable<T>): Promise<T[]> {
  const array: T[] = []
  for await (const item of items) array.push(item)
  return array
}
