import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, MultipartStore, MultipartUpload, UploadedPart } from './blob-store.js'
import { checkPartNumber, partMissing, sortParts, uploadEnded } from './parts.js'
import type { S3Body } from './s3-body.js'
import { bufferBody, streamBody } from './s3-body.js'
import { failureOf } from './s3-errors.js'
import { gather, type BufferBudget } from './s3-gather.js'
import type { S3Objects } from './s3-objects.js'
import type { S3Transport } from './s3-transport.js'
import { completeUploadXml, parseCopiedTag, parsePartList, parseTag, parseUploadId, type ListedPart } from './s3-xml.js'

/** An upload in parts as the store knows it. */
export interface S3Parts {
  begin(key: BlobKey, signal?: AbortSignal): Promise<MultipartUpload>
  /** @throws HubError `not-found` when the upload has ended */
  send(upload: MultipartUpload, number: number, body: S3Body, signal?: AbortSignal): Promise<UploadedPart>
  /** A part out of another object, which stays as it is. @param source its etag, so that nothing else is copied */
  copy(
    upload: MultipartUpload,
    number: number,
    source: { readonly path: string; readonly etag: string; readonly from: number; readonly to: number },
  ): Promise<UploadedPart>
  /**
   * Puts the parts together. With `ifAbsent` what is at the key stays where the store knows that condition.
   * @throws HubError `not-found` when the upload has ended, `invalid` when it refuses the parts
   */
  finish(upload: MultipartUpload, parts: readonly UploadedPart[], options?: { readonly ifAbsent?: boolean }): Promise<void>
  abort(upload: MultipartUpload): Promise<void>
}

const refused = ['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall', 'MalformedXML', 'InvalidRequest', 'InvalidArgument']

export function createS3Parts(transport: S3Transport, objects: S3Objects, conditions: { honoured: boolean }): S3Parts {
  return {
    async begin(key, signal) {
      // Sent twice it may leave an upload that nobody knows, which is the bucket's rule to end. Giving up would leave it as well.
      const { text } = await transport.send({ method: 'POST', key, query: { uploads: '' }, signal })
      return { key, id: parseUploadId(text) }
    },

    async send(upload, number, body, signal) {
      const query = partQuery(upload, number)
      const answer = await transport.send({ method: 'PUT', key: upload.key, query, body, signal, expect: ['NoSuchUpload', 404] })
      if (answer.status >= 300) throw uploadEnded()
      return { number, bytes: body.bytes, tag: parseTag(String(answer.headers['etag'])) }
    },

    async copy(upload, number, { path, etag, from, to }) {
      const headers = { 'x-amz-copy-source': path, 'x-amz-copy-source-range': `bytes=${from}-${to - 1}`, 'x-amz-copy-source-if-match': etag }
      const { text } = await transport.send({ method: 'PUT', key: upload.key, query: partQuery(upload, number), headers, slow: true })
      return { number, bytes: to - from, tag: parseCopiedTag(text) }
    },

    async finish(upload, parts, { ifAbsent = false } = {}) {
      const body = bufferBody(Buffer.from(completeUploadXml(parts)))
      const complete = (conditional: boolean) =>
        transport.send({
          method: 'POST',
          key: upload.key,
          query: { uploadId: upload.id },
          headers: { 'content-type': 'application/xml', ...(conditional ? { 'if-none-match': '*' } : {}) },
          body,
          slow: true,
          expect: ['NoSuchUpload', 404, 412, ...refused, ...(conditional ? [501] : [])],
        })
      let answer = await complete(ifAbsent && conditions.honoured)
      if (answer.status === 501) {
        conditions.honoured = false
        answer = await complete(false)
      }
      if (answer.status < 300) return
      if (answer.status === 412) {
        await abortUpload(transport, upload)
        return
      }
      if (refused.includes(answer.code)) throw new HubError('invalid', `the store refuses the parts of ${upload.key}: ${answer.code}`)
      if (answer.code !== 'NoSuchUpload' && answer.status !== 404) throw failureOf(`POST ${upload.key}`, answer)
      // It may be over because it succeeded, and the answer was lost.
      const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
      if (!answer.doubtful || (await objects.find(upload.key))?.bytes !== bytes) throw uploadEnded()
    },

    abort: (upload) => abortUpload(transport, upload),
  }
}

const partQuery = ({ id }: MultipartUpload, number: number) => ({ partNumber: String(number), uploadId: id })

async function abortUpload(transport: S3Transport, { key, id }: MultipartUpload): Promise<void> {
  await transport.send({ method: 'DELETE', key, query: { uploadId: id }, expect: [404, 'NoSuchUpload'] })
}

/** Ids are a store's own, but come back by way of others. */
const isUploadId = (id: string): boolean => /^[^./\\\s][^/\\\s]{0,1023}$/.test(id)

export interface S3MultipartOptions {
  readonly transport: S3Transport
  readonly objects: S3Objects
  readonly parts: S3Parts
  readonly budget: BufferBudget
  readonly partBytes: number
}

/** The port over the store's own multipart uploads. Every part but the last must have 5 MiB: that is the protocol's limit. */
export function createS3Multipart({ transport, objects, parts, budget, partBytes }: S3MultipartOptions): MultipartStore {
  return {
    begin: (key) => parts.begin(key),

    async part(upload, number, source, { signal, bytes, sha256, chunksLast = false } = {}) {
      checkPartNumber(number)
      if (!isUploadId(upload.id)) throw uploadEnded()
      signal?.throwIfAborted()
      if (bytes !== undefined) return parts.send(upload, number, streamBody(source, { bytes, sha256: hexOf(sha256), chunksLast }, signal), signal)
      const gathered = await gather(source, { partBytes, budget, signal })
      try {
        if (!gathered.ended) throw new HubError('too-large', `a part whose size is not known may have ${partBytes} bytes`)
        return await parts.send(upload, number, gathered.body, signal)
      } finally {
        await gathered.leave()
      }
    },

    async complete(upload, uploaded): Promise<BlobInfo> {
      if (!isUploadId(upload.id)) throw uploadEnded()
      const there = await listParts(transport, upload)
      // Clients that put parts themselves hand back tags as they stood in the header, quotes included.
      const sorted = sortParts(uploaded).map((part) => ({ ...part, tag: parseTag(part.tag) }))
      for (const { number, bytes, tag } of sorted) {
        const part = there.get(number)
        if (part?.tag !== tag || part.bytes !== bytes) throw partMissing(number)
      }
      await parts.finish(upload, sorted)
      return objects.get(upload.key)
    },

    async abort(upload) {
      if (isUploadId(upload.id)) await parts.abort(upload)
    },
  }
}

async function listParts(transport: S3Transport, { key, id }: MultipartUpload): Promise<ReadonlyMap<number, ListedPart>> {
  const parts = new Map<number, ListedPart>()
  let marker: string | undefined
  do {
    const query = { uploadId: id, ...(marker === undefined ? {} : { 'part-number-marker': marker }) }
    const answer = await transport.send({ method: 'GET', key, query, expect: [404, 'NoSuchUpload'] })
    if (answer.status >= 300) throw uploadEnded()
    const page: ReturnType<typeof parsePartList> = parsePartList(answer.text)
    for (const part of page.parts) parts.set(part.number, part)
    marker = page.next
  } while (marker !== undefined)
  return parts
}

export const hexOf = (sha256: Uint8Array | undefined): string | undefined => sha256 && Buffer.from(sha256).toString('hex')
