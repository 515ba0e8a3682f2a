import { randomUUID } from 'node:crypto'
import type { LargeObject } from '../../lfs/ports.js'
import type { LfsOid } from '../../lfs/types.js'
import { findFlatKey, findLinkedObjects } from '../db/large-objects.js'
import { HubError } from '../errors.js'
import type { SignedLinks } from '../storage/blob-store.js'
import { parseBlobKey, stagingKey } from '../storage/keys.js'
import { checkedBytes } from './checked-bytes.js'
import type { DirectTransfers, Upload } from './large-files.js'
import { publishStaged, type ReceiveDependencies } from './receive.js'

export interface DirectDependencies extends ReceiveDependencies {
  readonly signedLinks: SignedLinks
  /** Clients may put bytes there themselves. */
  readonly uploads: boolean
}

/** Nobody who leaves stops the work. */
const neverGone = new AbortController().signal

/** What S3 takes in one request. Larger ones come through the hub, which sends them on in parts. */
const maxSinglePutBytes = 5 * 2 ** 30

/**
 * Large objects between client and store, without a detour. What a client puts somewhere proves nothing: it lies under a staging key of its
 * own until the hub has read all of it back.
 */
export function createDirectTransfers(deps: DirectDependencies): DirectTransfers {
  const { db, store, staging, signedLinks, uploads } = deps
  /** By upload id: who asks again, having lost patience, hears of the same work. */
  const accepting = new Map<string, Promise<boolean>>()

  const sign = (...args: Parameters<SignedLinks['signedUrl']>): URL => {
    const url = signedLinks.signedUrl(...args)
    if (!url) throw new Error('a store for direct transfers signs links')
    return url
  }

  async function acceptOnce(upload: Upload & { readonly uploadId: string }): Promise<boolean> {
    const { uploadId, oid, size } = upload
    const given = stagingKey(uploadId)
    if (!(await store.stat(given))) return false
    // Where no client has an address of it: nobody can put other bytes there between the look at them and their final key.
    const id = randomUUID()
    const own = stagingKey(id)
    try {
      await publishStaged(deps, { ...upload, id, key: own, leaseMs: deps.leaseMs }, upload, async (signal) => {
        const { bytes } = await staging.promote(given, own)
        if (bytes !== size) throw new HubError('invalid', `${bytes} bytes came for ${oid}, which has ${size}`)
        for await (const _chunk of checkedBytes(await store.open(own, { signal }), upload, deps.newHash())) continue
      })
    } catch (error) {
      // Bytes that are no object are nobody's; after any other failure the client may ask again.
      if (error instanceof HubError && error.code === 'invalid') await store.delete(own)
      else await staging.promote(own, given).catch(() => undefined)
      // Another hub may have done it meanwhile, and taken the bytes away under this one.
      if ((await findLinkedObjects(db, upload.repoId, [oid])).length === 0) throw error
    }
    return true
  }

  return {
    uploadUrl: ({ size }: LargeObject, uploadId, lifetimeMs) =>
      !uploads || size > maxSinglePutBytes ? undefined : sign(stagingKey(uploadId), 'put', { expiresSeconds: lifetimeMs / 1000, bytes: size }),

    async downloadUrl(oid: LfsOid, { lifetimeMs, fileName }) {
      const key = await findFlatKey(db, oid)
      if (key === undefined) throw new HubError('corrupt', `${oid} has no bytes in the store`)
      return sign(parseBlobKey(key), 'get', { expiresSeconds: lifetimeMs / 1000, ...(fileName === undefined ? {} : { fileName }) })
    },

    accept(upload) {
      const { uploadId } = upload
      if (uploadId === undefined) return Promise.resolve(false)
      const known = accepting.get(uploadId)
      if (known) return known
      const work = acceptOnce({ ...upload, uploadId, signal: neverGone }).finally(() => accepting.delete(uploadId))
      accepting.set(uploadId, work)
      return work
    },
  }
}
