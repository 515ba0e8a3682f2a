import type { LookupFunction } from 'node:net'
import { randomUUID } from 'node:crypto'
import type { BlobStore, FilePut, MultipartStore, MultipartUpload, Promote, SignedLinks } from './blob-store.js'
import { stagingKey } from './keys.js'
import { checkPartNumber } from './parts.js'
import { bufferBody } from './s3-body.js'
import { BufferBudget } from './s3-gather.js'
import { createS3Multipart, createS3Parts } from './s3-multipart.js'
import { createS3Objects, infoOf } from './s3-objects.js'
import { createS3Promote } from './s3-promote.js'
import { createS3Put, type S3Limits } from './s3-put.js'
import { createS3Signer, type S3Account } from './s3-signer.js'
import { S3Transport, type S3TransportOptions } from './s3-transport.js'

export interface S3BlobStore extends BlobStore, FilePut, MultipartStore, Promote, SignedLinks {
  signedUrl(...args: Parameters<SignedLinks['signedUrl']>): URL
  /** Where a client puts one part of an upload; the tag of what it put is the answer's ETag. */
  signedPartUrl(upload: MultipartUpload, number: number, options: { readonly expiresSeconds: number }): URL
  /** Ends everything under way. */
  close(): Promise<void>
}

export interface S3BlobStoreOptions extends S3Account, Pick<S3TransportOptions, 'ca' | 'lookup' | 'connections' | 'attempts' | 'timeouts'> {
  /** Scheme, host and port as clients reach the store. Signed links are made for it; by default it is `endpoint`. */
  readonly publicEndpoint?: string | undefined
  readonly lookup?: LookupFunction
  readonly limits?: Partial<S3Limits>
  /** Memory for bodies whose size is not known beforehand, of all calls together; in whole parts, at least one. */
  readonly bufferBytes?: number
}

const MiB = 2 ** 20
const GiB = 2 ** 30
/** What S3 itself allows; a part of 16 MiB reaches 156 GiB. */
const defaultLimits: S3Limits = { partBytes: 16 * MiB, singlePutBytes: 5 * GiB, singleCopyBytes: 5 * GiB }
const defaultBufferBytes = 256 * MiB

/**
 * Blobs as objects of one bucket, each at its key; nothing else may write there. The bucket must exist, and the access key needs
 * `s3:ListBucket` on it, `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, `s3:AbortMultipartUpload` and
 * `s3:ListMultipartUploadParts` on what is in it. Versioning should be off: a delete would keep the bytes. Uploads in parts whose writer died are
 * for the bucket's own rule (AbortIncompleteMultipartUpload, two days).
 *
 * Nothing of a blob is visible before the store has acknowledged the whole of it. A request is sent again when it changes nothing to do so
 * twice and its body can be had again: from memory, or from a file. Bodies that come from a client are passed on as they come when their
 * size is known, and then are sent once.
 *
 * Every call throws HubError `unavailable` when the store is out of reach or refuses, and `storage-full`.
 * Close it when the hub stops.
 */
export function createS3BlobStore(options: S3BlobStoreOptions): S3BlobStore {
  const { bufferBytes = defaultBufferBytes, publicEndpoint = options.endpoint } = options
  const limits = { ...defaultLimits, ...options.limits }
  const transport = new S3Transport({ ...options, signer: createS3Signer(options) })
  // Not a rewritten host: the signature covers it.
  const publicSigner = createS3Signer({ ...options, endpoint: publicEndpoint })
  const conditions = { honoured: true }
  const budget = new BufferBudget(Math.max(1, Math.floor(bufferBytes / limits.partBytes)))
  const objects = createS3Objects(transport)
  const parts = createS3Parts(transport, objects, conditions)
  const puts = createS3Put({ transport, objects, parts, budget, conditions, limits })
  const promotes = createS3Promote({
    transport,
    objects,
    parts,
    bucket: options.bucket,
    puts,
    singlePutBytes: limits.singlePutBytes,
    singleCopyBytes: limits.singleCopyBytes,
  })
  let written = false

  return {
    async stat(key) {
      const found = await objects.find(key)
      return found && infoOf(found)
    },
    open: objects.open,
    delete: objects.delete,
    list: objects.list,
    ...puts,
    ...promotes,
    ...createS3Multipart({ transport, objects, parts, budget, partBytes: limits.partBytes }),

    async ping() {
      // Not HEAD: only an answer with a body says why not.
      await transport.send({ method: 'GET', query: { 'list-type': '2', 'max-keys': '1' } })
      if (written) return
      // Whether it can be written to changes with its settings, not from second to second.
      const key = stagingKey(`ping-${randomUUID()}`)
      await transport.send({ method: 'PUT', key, body: bufferBody(Buffer.from('ping')) })
      await objects.delete(key)
      written = true
    },

    signedUrl(key, use, { expiresSeconds, fileName, bytes }) {
      if (use === 'put') return publicSigner.presign({ method: 'PUT', key }, expiresSeconds, bytes)
      // A browser must never run what somebody stored.
      const query = { 'response-content-disposition': attachment(fileName), 'response-content-type': 'application/octet-stream' }
      return publicSigner.presign({ method: 'GET', key, query }, expiresSeconds)
    },

    signedPartUrl({ key, id }, number, { expiresSeconds }) {
      checkPartNumber(number)
      return publicSigner.presign({ method: 'PUT', key, query: { partNumber: String(number), uploadId: id } }, expiresSeconds)
    },

    close: () => transport.close(),
  }
}

/** Spec: RFC 6266, and RFC 8187 for the name. */
function attachment(fileName: string | undefined): string {
  if (fileName === undefined) return 'attachment'
  const encoded = encodeURIComponent(fileName).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename*=UTF-8''${encoded}`
}
