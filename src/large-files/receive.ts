import { randomUUID } from 'node:crypto'
import type { Database } from '../db/pool.js'
import { linkVerifiedObject, lockLiveRepository } from '../db/large-objects.js'
import { beginReserved, beginUnreserved, endReception, renewReception, undoReception, type Reception } from '../db/lfs-uploads.js'
import { HubError } from '../errors.js'
import { checkStored, lockKept, type Keeper } from '../kept/keep.js'
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
 * For how long after it was written the row that keeps a blob is taken to stand without another look. Far below every grace of the collector,
 * which could otherwise have taken the row and the bytes, while somebody else wrote a new row whose bytes are still to come.
 */
const keptForMs = 60_000

/**
 * Bytes that come always take the same road, whether the hub has them or not, and whoever links them: a way around it would tell what others
 * have, and would pass over bytes that were lost. First a row that names where they go; then the bytes there, hashed on the way; then their
 * final key, under a row that keeps it; then object and link in one transaction. Until that is committed nobody can read them, and
 * whatever dies on the way leaves a row by which `releaseExpired` finds the rest.
 */
export function createReceive(deps: ReceiveDependencies): LargeFiles['receive'] {
  const { store, newHash, leaseMs } = deps
  return async (upload, bytes) => {
    const { signal } = upload
    signal.throwIfAborted()
    const id = randomUUID()
    const stagedAt = stagingKey(id)
    const reception: Reception = { ...upload, id, key: stagedAt, leaseMs }
    // The bytes before the row: as long as that is there somebody will find them.
    const undo = (): Promise<void> => store.delete(stagedAt)
    await underReception(deps, { reception, upload, undo }, async (lost, keptUntil) => {
      const checked = watched(checkedBytes(bytes, upload, newHash()))
      const staged = deps.staging.stage(stagedAt, checked.bytes, {
        bytes: upload.size,
        sha256: Buffer.from(upload.oid, 'hex'),
        chunksLast: upload.chunksLast ?? false,
        ...(keptUntil > 0 ? { into: finalKey(upload) } : {}),
        signal: AbortSignal.any([signal, lost]),
      })
      try {
        // The bytes are known to be right before the disk has them: meanwhile the row that keeps them is written.
        await Promise.race([checked.ended, staged])
        await publish(deps, reception, staged, upload, keptUntil)
      } catch (error) {
        await staged.catch(() => undefined) // a file that comes after it was removed would stay
        throw error
      }
    })
  }
}

/**
 * The same for bytes that lie under their staging key already, once `check` has looked at them. When it fails they stay where they are.
 * @throws whatever `check` throws, `busy`
 */
export async function publishStaged(
  deps: ReceiveDependencies,
  reception: Reception,
  upload: Upload,
  check: (stopped: AbortSignal) => Promise<void>,
): Promise<void> {
  await underReception(deps, { reception, upload, undo: async () => undefined }, async (lost, keptUntil) => {
    await check(AbortSignal.any([upload.signal, lost]))
    await publish(deps, reception, Promise.resolve(), upload, keptUntil)
  })
}

/**
 * Runs `work` under a row that says whose bytes these are, and that is renewed meanwhile. `lost`: somebody took the upload for dead. `keptUntil`:
 * as `publish` takes it. When it throws, first `undo` runs and then the row goes again.
 */
async function underReception(
  deps: ReceiveDependencies,
  { reception, upload, undo }: { readonly reception: Reception; readonly upload: Upload; readonly undo: () => Promise<void> },
  work: (lost: AbortSignal, keptUntil: number) => Promise<void>,
): Promise<void> {
  const { db, leaseMs, receiving } = deps
  const { id } = reception
  receiving.add(id)
  try {
    const beganAt = performance.now()
    const { reservationId, kept } = await begin(deps, reception, upload.uploadId)
    const lease = holdLease(() => renewReception(db, id, leaseMs), leaseMs / 3)
    try {
      await work(lease.lost, kept ? beganAt + keptForMs : 0)
    } catch (error) {
      try {
        await undo()
        await db.transaction((tx) => undoReception(tx, id, reservationId))
      } catch {
        // `releaseExpired` does it when the lease has run out. Why the upload failed says more than why this did.
      }
      throw error
    } finally {
      lease.end()
    }
  } finally {
    receiving.delete(id)
  }
}

interface Begun {
  /** Whose room is used. One that has been used up, or has expired, is as good as none. */
  readonly reservationId?: string
  /** There is a row that keeps the blob. */
  readonly kept: boolean
}

async function begin(deps: ReceiveDependencies, reception: Reception, uploadId: string | undefined): Promise<Begun> {
  if (uploadId !== undefined) {
    const { begun, kept } = await beginReserved(deps.db, uploadId, reception, finalKey(reception))
    if (begun) return { reservationId: uploadId, kept }
  }
  await inRoom(deps, (tx) => beginUnreserved(tx, reception))
  return { kept: false }
}

const finalKey = ({ oid }: { readonly oid: string }): BlobKey => lfsKey(Buffer.from(oid, 'hex'))

/** See docs/git-storage.md, "Keeping and deleting a stored blob". */
async function publish(
  { db, staging, keeper }: ReceiveDependencies,
  reception: Reception,
  staged: Promise<unknown>,
  upload: Upload,
  keptUntil: number,
): Promise<void> {
  const { repoId, oid, size, signal, uploadId } = upload
  const key = finalKey(upload)
  const write = async () => {
    try {
      await staged
      return await staging.promote(parseBlobKey(reception.key), key, { bytes: size })
    } catch (error) {
      // They had been promoted, and were deleted before they could be linked; or the upload was taken for dead.
      if (error instanceof HubError && error.code === 'not-found') throw new HubError('busy', `the bytes of ${oid} have gone again`, { cause: error })
      throw error
    }
  }
  for (let keeps = 0; keeps < maxKeeps; keeps++) {
    signal.throwIfAborted()
    if (keeps > 0 || performance.now() > keptUntil) await keeper.keep([{ key, bytes: size, write: async () => void (await write()) }])
    else checkStored(key, await write(), size)
    signal.throwIfAborted()
    const linked = await db.transaction(
      async (tx) => {
        const [lives, kept] = await Promise.all([lockLiveRepository(tx, repoId), lockKept(tx, [key])])
        if (!lives) throw new HubError('repo-not-found', 'Repository not found')
        if (!kept) return false
        await Promise.all([linkVerifiedObject(tx, repoId, { oid, size }, key), endReception(tx, reception, uploadId)])
        return true
      },
      { locksFirst: true },
    )
    if (linked) return
  }
  throw new HubError('busy', `${key} was deleted each time it was kept`)
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
