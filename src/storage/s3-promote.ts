import { HubError } from '../errors.js'
import type { BlobKey, BlobStore, Promote, UploadedPart } from './blob-store.js'
import { failureOf } from './s3-errors.js'
import type { S3Parts } from './s3-multipart.js'
import { infoOf, type S3Object, type S3Objects } from './s3-objects.js'
import type { S3Transport } from './s3-transport.js'

export interface S3PromoteOptions {
  readonly transport: S3Transport
  readonly objects: S3Objects
  readonly parts: S3Parts
  readonly bucket: string
  readonly puts: Pick<BlobStore, 'put'>
  /** One request may carry this many. */
  readonly singlePutBytes: number
  /** One request may copy this many. */
  readonly singleCopyBytes: number
}

const maxParts = 10_000
const MiB = 2 ** 20
const largestCopyPart = 1024 * MiB
const copiesAtOnce = 4

/** A copy inside the store, then the staged one goes: of all that happens in between nothing loses bytes. */
export function createS3Promote({ transport, objects, parts, bucket, puts, singlePutBytes, singleCopyBytes }: S3PromoteOptions): Promote {
  const copyWhole = async ({ key, etag }: S3Object, final: BlobKey): Promise<boolean> => {
    const headers = { 'x-amz-copy-source': pathOf(bucket, key), 'x-amz-copy-source-if-match': etag }
    const { status } = await transport.send({ method: 'PUT', key: final, headers, slow: true, expect: [404, 412] })
    return status < 300
  }
  const copyInParts = async ({ key, etag, bytes }: S3Object, final: BlobKey): Promise<void> => {
    const partBytes = Math.max(Math.min(singleCopyBytes, largestCopyPart), Math.ceil(bytes / maxParts / MiB) * MiB)
    const ranges = Array.from({ length: Math.ceil(bytes / partBytes) }, (_, i) => ({ from: i * partBytes, to: Math.min((i + 1) * partBytes, bytes) }))
    const upload = await parts.begin(final)
    try {
      const copied: UploadedPart[] = []
      let next = 0
      const work = async (): Promise<void> => {
        for (let i = next++; i < ranges.length; i = next++) {
          copied[i] = await parts.copy(upload, i + 1, { path: pathOf(bucket, key), etag, ...ranges[i]! })
        }
      }
      const workers = Array.from({ length: copiesAtOnce }, work)
      await Promise.all(workers).catch(async (error: unknown) => {
        next = ranges.length
        await Promise.allSettled(workers)
        throw error
      })
      await parts.finish(upload, copied)
    } catch (error) {
      await parts.abort(upload).catch(() => undefined)
      throw error
    }
  }

  return {
    async stage(staging, bytes, { into, ...options } = {}) {
      // One request stores all of it or nothing, and not without the hash that was announced. What is there already stays as it is.
      const atOnce = into !== undefined && options.sha256 !== undefined && (options.bytes ?? Infinity) <= singlePutBytes
      const key = atOnce && !(await objects.find(into)) ? into : staging
      return (await puts.put(key, bytes, options)).bytes
    },

    async promote(staging, final, { bytes } = {}) {
      const there = await objects.find(final)
      const isWhole = bytes === undefined || there?.bytes === bytes
      const staged = there && isWhole ? undefined : await objects.find(staging)
      if (there && (isWhole || staged?.bytes !== bytes)) {
        await objects.delete(staging)
        return infoOf(there)
      }
      if (staged && staged.bytes > singleCopyBytes) await copyInParts(staged, final)
      // Neither copied nor gone to the final key: somebody replaced it, which nobody may.
      else if (staged && !(await copyWhole(staged, final)) && !(await objects.find(final))) throw vanished(staging)
      const promoted = await objects.find(final)
      if (!promoted) throw vanished(staging)
      if (staged && promoted.bytes !== staged.bytes) {
        throw failureOf(`the copy of ${staging} with ${promoted.bytes} of ${staged.bytes} bytes`, { status: 200, code: '' })
      }
      if (staged) await objects.delete(staging)
      return infoOf(promoted)
    },
  }
}

/** Both are made of characters that need no escape. */
const pathOf = (bucket: string, key: BlobKey): string => `/${bucket}/${key}`
const vanished = (staging: BlobKey): HubError => new HubError('not-found', `${staging} is not in the store`)
