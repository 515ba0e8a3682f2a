import { setTimeout as sleep } from 'node:timers/promises'
import { isLockTimeout, type Database, type Transaction } from '../db/pool.js'
import { keepBlobs, lockLiveBlobs } from '../db/stored-blobs.js'
import { HubError } from '../errors.js'
import type { BlobKey, BlobStore } from '../storage/blob-store.js'
import { eachOf } from './each-of.js'

export interface KeptBlob {
  readonly key: BlobKey
  readonly bytes: number
  /** Makes sure that the bytes are in the store, whole and synced. Whether they are already is for the store to say. May be called again. */
  readonly write: () => Promise<void>
}

/** Brings bytes into the store under rows that keep them. */
export interface Keeper {
  /**
   * First the rows, so that nobody deletes what comes; then the bytes. What was kept stays for the grace of the collector, in which
   * a transaction has to `lockKept` and link it. When it throws, rows or bytes may be there: the collector finds them.
   * @throws HubError `busy` when a key is being deleted, or locked, for too long; `corrupt` when the store has other bytes afterwards;
   *   whatever `write` throws
   */
  keep(blobs: readonly KeptBlob[]): Promise<void>
}

export interface KeeperOptions {
  readonly db: Database
  readonly store: BlobStore
  /** How long a key that is being deleted is waited for. */
  readonly maxWaitMs?: number
  readonly pollMs?: number
}

/** Each costs the disk a few syncs, which it can do together. */
const writesAtOnce = 4

export function createKeeper({ db, store, maxWaitMs = 10_000, pollMs = 50 }: KeeperOptions): Keeper {
  return {
    async keep(blobs) {
      const byKey = new Map(blobs.map((blob) => [blob.key, blob]))
      await keepRows(db, [...byKey.values()], maxWaitMs, pollMs)
      await eachOf([...byKey.values()], writesAtOnce, async ({ key, bytes, write }) => {
        await write()
        checkStored(key, await store.stat(key), bytes)
      })
    },
  }
}

/** @throws HubError `corrupt` when what is there after a write is not as long as what was written */
export function checkStored(key: BlobKey, stored: { readonly bytes: number } | undefined, bytes: number): void {
  if (stored?.bytes === bytes) return
  throw new HubError('corrupt', `${key} has ${stored ? `${stored.bytes} bytes` : 'no bytes'} in the store after ${bytes} were written`)
}

/** All keys at once; those that are being deleted again, until their rows are gone. */
async function keepRows(db: Database, blobs: readonly KeptBlob[], maxWaitMs: number, pollMs: number): Promise<void> {
  const endsAt = performance.now() + maxWaitMs
  for (let missing = blobs; missing.length > 0; ) {
    const lockTimeoutMs = Math.max(1, Math.ceil(endsAt - performance.now()))
    const kept = await db
      .transaction((tx) => keepBlobs(tx, missing), { lockTimeoutMs })
      .catch((error: unknown) => {
        throw isLockTimeout(error) ? busy(missing[0]!.key, error) : error
      })
    missing = missing.filter(({ key }) => !kept.includes(key))
    if (missing.length === 0) return
    if (performance.now() >= endsAt) throw busy(missing[0]!.key)
    await sleep(Math.min(pollMs, Math.max(1, endsAt - performance.now())))
  }
}

const busy = (key: BlobKey, cause?: unknown): HubError => new HubError('busy', `${key} is just being deleted, try again`, { cause })

/**
 * Locks kept blobs against deletion until the transaction ends, by key. False: one is no longer live, so roll back and keep again.
 * After this lock the transaction links them, and never updates their rows: two that do so would wait for each other.
 */
export async function lockKept(tx: Transaction, keys: readonly BlobKey[]): Promise<boolean> {
  const distinct = [...new Set(keys)]
  return distinct.length === 0 || (await lockLiveBlobs(tx, distinct)) === distinct.length
}
