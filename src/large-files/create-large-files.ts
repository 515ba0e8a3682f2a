import { findFlatKey, findLinkedObjects } from '../db/large-objects.js'
import type { Database } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { Keeper } from '../kept/keep.js'
import type { BlobStore, Promote, SignedLinks } from '../storage/blob-store.js'
import { parseBlobKey } from '../storage/keys.js'
import { createRunningHash, type RunningHash } from './checked-bytes.js'
import { createClaim, sizesOf } from './claim.js'
import { createDirectTransfers } from './direct.js'
import type { LargeFiles } from './large-files.js'
import { createReceive } from './receive.js'
import { createReleaseExpired, type ReleasedUploads } from './release-expired.js'
import { createReserve } from './reserve.js'

export interface LargeFilesOptions {
  readonly db: Database
  readonly store: BlobStore
  readonly staging: Promote
  readonly keeper: Keeper
  /** How much all uploads under way and to come may take together, now: such as what is free. */
  readonly reservableBytes: () => Promise<number>
  /** How long an upload under way is left alone once its process was not heard of. Renewed three times as often. */
  readonly leaseMs?: number
  /** Age from which staged bytes that no row names are removed. */
  readonly strayAfterMs?: number
  readonly newHash?: () => RunningHash
  /** Clients send to the store and fetch from it themselves. Undefined: through the hub. */
  readonly signedLinks?: SignedLinks | undefined
  /** Whether they may send. By default they may where they may fetch. */
  readonly directUploads?: boolean
}

export interface LargeFilesService extends LargeFiles {
  /** Frees what expired uploads had reserved and removes their bytes. At start, and every few minutes. */
  releaseExpired(): Promise<ReleasedUploads>
}

const minute = 60_000

export function createLargeFiles(options: LargeFilesOptions): LargeFilesService {
  const { db, store, signedLinks, leaseMs = 15 * minute, strayAfterMs = 24 * 60 * minute, newHash = createRunningHash } = options
  const receiving = new Set<string>()
  const receiveDependencies = { ...options, leaseMs, newHash, receiving }
  return {
    find: async (repoId, oids) => sizesOf(await findLinkedObjects(db, repoId, oids)),
    claim: createClaim(db),
    reserve: createReserve(options),
    receive: createReceive(receiveDependencies),
    releaseExpired: createReleaseExpired({ db, store, direct: signedLinks !== undefined, receiving, strayAfterMs }),
    ...(signedLinks ? { direct: createDirectTransfers({ ...receiveDependencies, signedLinks, uploads: options.directUploads ?? true }) } : {}),

    async open(oid, openOptions) {
      const key = await findFlatKey(db, oid)
      if (key === undefined) throw new HubError('corrupt', `${oid} has no bytes in the store`)
      return store.open(parseBlobKey(key), openOptions)
    },
  }
}
