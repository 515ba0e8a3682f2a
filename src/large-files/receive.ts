import { randomUUID } from 'node:crypto'
import type { Database } from '../db/pool.js'
import { linkVerifiedObject, lockLiveRepository } from '../db/large-objects.js'
import { beginReserved, beginUnreserved, endReception, renewReception, undoReception, type Reception } from '../db/lfs-uploads.js'
import { HubError } from '../errors.js'
import { lockKept, type Keeper } from '../kept/keep.js'
import type { BlobKey, BlobStore, Promote } from '../storage/blob-store.js'
import { lfsKey, parseBlobKey, stagingKey } from '../storage/keys.js'
import { checkedBytes, type RunningHash } from './checked-bytes.js'
import type { LargeFiles, Upload } from './large-files.js'
import { holdLease } from './lease.js'
import { inRoom } from './reserve.js'

export interface ReceiveDependencies {
  readonly db: Database
  readonly store: BlobStore
  readonly staging: Promote
  readonly keeper: Keeper
  readonly newHash: () => RunningHash
  readonly reservableBytes: () => Promise<number>
  /** How long bytes on their way are left alone after this process was last heard of. */
  readonly leaseMs: number
  /** Ids of uploads that this process is receiving. */
  readonly receiving: Set<string>
}

const maxKeeps = 5

/**
 * Bytes that come always take the same road, whether the hub has them or not, and whoever links them: a way around it would tell what others
 * have, and would pass over bytes that were lost. First a row that names where they go; then the bytes there, hashed on the way; then their
 * final key, under a row that keeps it; then object and link in one transaction. Until that is committed nobody can read them, and
 * whatever dies on the way leaves a row by which `releaseExpired` finds the rest.
 */
export function createReceive(deps: ReceiveDependencies): LargeFiles['receive'] {
  const { db, newHash, leaseMs, receiving } = deps
  return async (upload, bytes) => {
    const { signal } = upload
    signal.throwIfAborted()
    const id = randomUUID()
    const stagedAt = stagingKey(id)
    const reception: Reception = { ...upload, id, key: stagedAt, leaseMs }
    receiving.add(id)
    try {
      const reservationId = await begin(deps, reception, upload.uploadId)
      const lease = holdLease(() => renewReception(db, id, leaseMs), leaseMs / 3)
      let staged: Promise<unknown> = Promise.resolve()
      try {
        const checked = watched(checkedBytes(bytes, upload, newHash()))
        staged = deps.staging.stage(stagedAt, checked.bytes, {
          bytes: upload.size,
          sha256: Buffer.from(upload.oid, 'hex'),
          signal: AbortSignal.any([signal, lease.lost]),
        })
        // The bytes are known to be right before the disk has them: meanwhile the row that keeps them is written.
        await Promise.race([checked.ended, staged])
        await publish(deps, reception, staged, upload)
      } catch (error) {
        await staged.catch(() => undefined) // a file that comes after it was removed would stay
        await undo(deps, reception, stagedAt, reservationId)
        throw error
      } finally {
        lease.end()
      }
    } finally {
      receiving.delete(id)
    }
  }
}

/** Comes back with the reservation whose room is used. One that has been used up, or has expired, is as good as none. */
async function begin(deps: ReceiveDependencies, reception: Reception, uploadId: string | undefined): Promise<string | undefined> {
  if (uploadId !== undefined && (await beginReserved(deps.db, uploadId, reception))) return uploadId
  await inRoom(deps, (tx) => beginUnreserved(tx, reception))
  return undefined
}

/** See docs/git-storage.md, "Keeping and deleting a stored blob". */
async function publish({ db, staging, keeper }: ReceiveDependencies, reception: Reception, staged: Promise<unknown>, upload: Upload): Promise<void> {
  const { repoId, oid, size, signal, uploadId } = upload
  const key = lfsKey(Buffer.from(oid, 'hex'))
  const write = async () => {
    try {
      await staged
      await staging.promote(parseBlobKey(reception.key), key)
    } catch (error) {
      // They had been promoted, and were deleted before they could be linked; or the upload was taken for dead.
      if (error instanceof HubError && error.code === 'not-found') throw new HubError('busy', `the bytes of ${oid} have gone again`, { cause: error })
      throw error
    }
  }
  for (let keeps = 0; keeps < maxKeeps; keeps++) {
    signal.throwIfAborted()
    await keeper.keep([{ key, bytes: size, write }])
    signal.throwIfAborted()
    const linked = await db.transaction(async (tx) => {
      if (!(await lockLiveRepository(tx, repoId))) throw new HubError('repo-not-found', 'Repository not found')
      if (!(await lockKept(tx, [key]))) return false
      await linkVerifiedObject(tx, repoId, { oid, size }, key)
      await endReception(tx, reception, uploadId)
      return true
    })
    if (linked) return
  }
  throw new HubError('busy', `${key} was deleted each time it was kept`)
}

/** The bytes first: as long as their row is there somebody will find them. */
async function undo({ db, store }: ReceiveDependencies, { id }: Reception, staging: BlobKey, reservationId: string | undefined): Promise<void> {
  try {
    await store.delete(staging)
    await db.transaction((tx) => undoReception(tx, id, reservationId))
  } catch {
    // `releaseExpired` does it when the lease has run out. Why the upload failed says more than why this did.
  }
}

/** The same bytes, and when all of them have been given out. Not heard of when they end otherwise. */
function watched(bytes: AsyncIterable<Uint8Array>): { readonly bytes: AsyncIterable<Uint8Array>; readonly ended: Promise<void> } {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return {
    ended,
    bytes: (async function* () {
      yield* bytes
      end()
    })(),
  }
}
