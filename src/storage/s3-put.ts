import { createHash } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, BlobStore, FilePut, MultipartUpload, UploadedPart } from './blob-store.js'
import { readFileChunks } from './file-chunks.js'
import { exactly, fileBody, streamBody, type S3Body } from './s3-body.js'
import { gather, type BufferBudget, type Gathered } from './s3-gather.js'
import { hexOf, type S3Parts } from './s3-multipart.js'
import { infoOf, type S3Objects } from './s3-objects.js'
import type { S3Transport } from './s3-transport.js'

export interface S3PutOptions {
  readonly transport: S3Transport
  readonly objects: S3Objects
  readonly parts: S3Parts
  readonly budget: BufferBudget
  /** Whether the store knows `If-None-Match: *`. Found out by using it. */
  readonly conditions: { honoured: boolean }
  readonly limits: S3Limits
}

interface Options {
  /** Hex. */
  readonly sha256: string | undefined
  readonly ifAbsent: boolean
  readonly chunksLast: boolean
  readonly signal: AbortSignal | undefined
}

export interface S3Limits {
  /** Of bodies whose size is not known, one part is in memory at a time. Files above it go in parts of this size. */
  readonly partBytes: number
  /** One request may carry this many. */
  readonly singlePutBytes: number
  /** One request may copy this many. */
  readonly singleCopyBytes: number
}

const maxParts = 10_000
const MiB = 2 ** 20
/** Bodies up to this are gathered though their size is known: then they can be sent again. */
const smallBytes = 256 * 1024
/** Parts of a file that are sent at once. */
const filePartsAtOnce = 4

export function createS3Put({ transport, objects, parts, budget, conditions, limits }: S3PutOptions): Pick<BlobStore, 'put'> & FilePut {
  const putWhole = async (key: BlobKey, body: S3Body, ifAbsent: boolean, signal?: AbortSignal): Promise<void> => {
    const send = (conditional: boolean) =>
      transport.send({
        method: 'PUT',
        key,
        body,
        signal,
        ...(conditional ? { headers: { 'if-none-match': '*' }, expect: [412, 501] } : {}),
      })
    const { status } = await send(ifAbsent && conditions.honoured)
    if (status !== 501) return
    // The caller has looked before: what is lost is a race between equals.
    conditions.honoured = false
    await send(false)
  }

  /** Parts one after the other, then all of them together. Whatever stops it, the store keeps none. */
  const inParts = async (
    key: BlobKey,
    sendAll: (upload: MultipartUpload) => Promise<readonly UploadedPart[]>,
    { ifAbsent, signal }: { readonly ifAbsent: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> => {
    const upload = await parts.begin(key, signal)
    try {
      const sent = await sendAll(upload)
      signal?.throwIfAborted()
      await parts.finish(upload, sent, { ifAbsent })
    } catch (error) {
      // What cannot be ended now is left to the store's own rule for unfinished uploads.
      await parts.abort(upload).catch(() => undefined)
      throw error
    }
  }

  const putGathered = async (key: BlobKey, source: AsyncIterable<Uint8Array>, { sha256, ifAbsent, signal }: Options): Promise<void> => {
    const first = await gather(source, { partBytes: limits.partBytes, budget, signal })
    try {
      if (first.ended && sha256 !== undefined && sha256 !== first.body.sha256)
        throw new HubError('corrupt', `the bytes of ${key} are others than was announced`)
      if (first.ended) return await putWhole(key, first.body, ifAbsent, signal)
      await inParts(key, (upload) => sendGathered(upload, first, signal), { ifAbsent, signal })
    } finally {
      await first.leave()
    }
  }
  const sendGathered = async (upload: MultipartUpload, first: Gathered, signal?: AbortSignal): Promise<readonly UploadedPart[]> => {
    const sent: UploadedPart[] = []
    for (let gathered = first; ; gathered = await gathered.next()) {
      // The source ended where a part did.
      if (gathered.body.bytes === 0) return sent
      if (sent.length === maxParts) {
        throw new HubError('too-large', `bytes whose size is not known beforehand may be ${maxParts * limits.partBytes}`)
      }
      sent.push(await parts.send(upload, sent.length + 1, gathered.body, signal))
      if (gathered.ended) return sent
    }
  }

  const putKnown = async (key: BlobKey, source: AsyncIterable<Uint8Array>, bytes: number, options: Options): Promise<void> => {
    const { sha256, ifAbsent, chunksLast, signal } = options
    const whole = bytes <= limits.singlePutBytes
    if (whole && !ifAbsent) return putWhole(key, streamBody(source, { bytes, sha256, chunksLast }, signal), false, signal)
    // With a condition always in parts: a store that refuses the condition does so when the source is used up, and only the end can be repeated.
    const partBytes = whole ? bytes : partBytesFor(bytes, Math.min(limits.singlePutBytes, 512 * MiB))
    await inParts(
      key,
      async (upload) => {
        if (whole) return [await parts.send(upload, 1, streamBody(source, { bytes, sha256, chunksLast }, signal), signal)]
        const pieces = cut(source)
        const sent: UploadedPart[] = []
        for (let at = 0; at < bytes; at += partBytes) {
          const length = Math.min(partBytes, bytes - at)
          const piece = at + length === bytes ? pieces.all() : pieces.next(length)
          sent.push(await parts.send(upload, sent.length + 1, streamBody(piece, { bytes: length, sha256: undefined, chunksLast }, signal), signal))
        }
        return sent
      },
      { ifAbsent, signal },
    )
  }

  /** One reader of the file, which hashes it whole and part by part, ahead of others, which send the parts. */
  const sendFile = async (upload: MultipartUpload, path: string, bytes: number, sha256: Uint8Array): Promise<readonly UploadedPart[]> => {
    const partBytes = partBytesFor(bytes, limits.partBytes)
    const stop = new AbortController()
    const sending = new Set<Promise<void>>()
    const sent: UploadedPart[] = []
    const whole = createHash('sha256')
    try {
      for (let from = 0, number = 1; from < bytes; from += partBytes, number++) {
        stop.signal.throwIfAborted()
        const range = { from, to: Math.min(from + partBytes, bytes) }
        const hash = createHash('sha256')
        for await (const chunk of readFileChunks(path, range, { name: path })) {
          hash.update(chunk)
          whole.update(chunk)
        }
        if (sending.size >= filePartsAtOnce) await Promise.race(sending)
        const one: Promise<void> = parts
          .send(upload, number, fileBody(path, range, hash.digest('hex')), stop.signal)
          .then((part) => void sent.push(part))
          .finally(() => sending.delete(one))
        one.catch((error: unknown) => stop.abort(error))
        sending.add(one)
      }
      await Promise.all(sending)
      stop.signal.throwIfAborted()
    } catch (error) {
      stop.abort(error)
      await Promise.allSettled(sending)
      throw stop.signal.reason
    }
    if (!whole.digest().equals(sha256)) throw changed(path)
    return sent.toSorted((a, b) => a.number - b.number)
  }

  return {
    async put(key, source, { ifAbsent = false, signal, bytes, sha256, chunksLast = false } = {}): Promise<BlobInfo> {
      signal?.throwIfAborted()
      // Also where the store knows the condition: it would hear of it only after the bytes.
      const there = ifAbsent ? await objects.find(key) : undefined
      if (there) return infoOf(there)
      const options = { sha256: hexOf(sha256), ifAbsent, chunksLast, signal }
      if (bytes === undefined) await putGathered(key, source, options)
      else if (bytes <= smallBytes) await putGathered(key, exactly(source, { bytes, chunksLast }, signal), options)
      else await putKnown(key, source, bytes, options)
      return objects.get(key)
    },

    async putFile(key, path, sha256) {
      const bytes = (await stat(path)).size
      if ((await objects.find(key))?.bytes !== bytes) {
        if (bytes <= limits.partBytes) await putWhole(key, fileBody(path, { from: 0, to: bytes }, hexOf(sha256)!), false)
        else await inParts(key, (upload) => sendFile(upload, path, bytes, sha256), { ifAbsent: false })
        // The file is the only copy that is known to be good until the store itself tells that it has as many bytes.
        const stored = await objects.get(key)
        if (stored.bytes !== bytes) throw new HubError('corrupt', `the store has ${stored.bytes} of the ${bytes} bytes of ${key}`)
      }
      await rm(path, { force: true })
    },
  }
}

const changed = (path: string): HubError => new HubError('corrupt', `${path} changed before it was stored`)

/** A whole number of MiB, so many that 10,000 parts suffice. */
const partBytesFor = (bytes: number, least: number): number => Math.max(least, Math.ceil(bytes / maxParts / MiB) * MiB)

/** A source piece by piece, each read to its end before the next is asked for. */
function cut(source: AsyncIterable<Uint8Array>): { next(bytes: number): AsyncIterable<Uint8Array>; all(): AsyncIterable<Uint8Array> } {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Uint8Array = Buffer.alloc(0)
  async function* read(bytes: number): AsyncGenerator<Uint8Array> {
    let ended = false
    try {
      for (let left = bytes; left > 0; ) {
        if (rest.length === 0) {
          const next = await iterator.next()
          if (next.done) break
          rest = next.value
        }
        const piece = rest.subarray(0, left)
        rest = rest.subarray(piece.length)
        left -= piece.length
        yield piece
      }
      ended = true
    } finally {
      // Left midway: nobody comes for the others.
      if (!ended) await iterator.return?.()
    }
  }
  return { next: (bytes) => read(bytes), all: () => read(Infinity) }
}
