import { randomUUID } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { HubError } from '../errors.js'
import { abortable } from './abortable.js'
import type { BlobInfo, BlobKey, BlobStore, FilePut, MultipartStore, MultipartUpload, Promote } from './blob-store.js'
import { checkRange } from './check-range.js'
import { byCodeUnit } from './list-files.js'
import { checkPartNumber, partMissing, sortParts, uploadEnded } from './parts.js'

export type MemoryBlobStore = BlobStore & FilePut & MultipartStore & Promote

interface Blob {
  readonly content: Buffer
  readonly modifiedAt: Date
}

/** Chunks go out in this size, from one reused buffer: who keeps them without copying is found out. */
const chunkBytes = 64 * 1024

/** A store for tests that need no files. */
export function createMemoryBlobStore(): MemoryBlobStore {
  const blobs = new Map<BlobKey, Blob>()
  const uploads = new Map<string, { readonly key: BlobKey; readonly parts: Map<string, Buffer> }>()

  const find = (key: BlobKey): BlobInfo | undefined => {
    const blob = blobs.get(key)
    return blob && { key, bytes: blob.content.length, modifiedAt: blob.modifiedAt }
  }
  const set = (key: BlobKey, content: Buffer, ifAbsent: boolean): BlobInfo => {
    if (!ifAbsent || !blobs.has(key)) blobs.set(key, { content, modifiedAt: new Date() })
    return find(key)!
  }
  const getUpload = ({ id }: MultipartUpload) => {
    const upload = uploads.get(id)
    if (!upload) throw uploadEnded()
    return upload
  }

  return {
    stat: async (key) => find(key),

    async open(key, { range, signal } = {}) {
      const blob = blobs.get(key)
      if (!blob) throw new HubError('corrupt', `${key} is not in the store`)
      const { from, to } = checkRange(key, blob.content.length, range)
      return { [Symbol.asyncIterator]: () => chunksOf(blob.content.subarray(from, to), signal) }
    },

    async put(key, bytes, { ifAbsent = false, signal } = {}) {
      signal?.throwIfAborted()
      return (ifAbsent && find(key)) || set(key, await collect(bytes, signal), ifAbsent)
    },

    async delete(key) {
      blobs.delete(key)
    },

    async *list(prefix) {
      for (const key of [...blobs.keys()].toSorted(byCodeUnit)) {
        const info = key.startsWith(prefix) && find(key)
        if (info) yield info
      }
    },

    ping: async () => undefined,

    async putFile(key, path) {
      const content = await readFile(path)
      if (find(key)?.bytes !== content.length) set(key, content, false)
      await rm(path)
    },

    async stage(key, bytes, { signal } = {}) {
      signal?.throwIfAborted()
      return set(key, await collect(bytes, signal), false).bytes
    },

    async promote(staging, final, { bytes } = {}) {
      const [blob, there] = [blobs.get(staging), blobs.get(final)]
      if (!blob && !there) throw new HubError('not-found', `${staging} is not in the store`)
      const isWhole = bytes === undefined || there?.content.length === bytes
      if (blob && (!there || (!isWhole && blob.content.length === bytes))) blobs.set(final, blob)
      blobs.delete(staging)
      return find(final)!
    },

    async begin(key) {
      const id = randomUUID()
      uploads.set(id, { key, parts: new Map() })
      return { key, id }
    },

    async part(upload, number, bytes, { signal } = {}) {
      checkPartNumber(number)
      getUpload(upload)
      const content = await collect(bytes, signal)
      const tag = randomUUID()
      getUpload(upload).parts.set(`${number}-${tag}`, content)
      return { number, bytes: content.length, tag }
    },

    async complete(upload, parts) {
      const { key, parts: uploaded } = getUpload(upload)
      const contents = sortParts(parts).map(({ number, tag, bytes }) => {
        const content = uploaded.get(`${number}-${tag}`)
        if (content?.length !== bytes) throw partMissing(number)
        return content
      })
      uploads.delete(upload.id)
      return set(key, Buffer.concat(contents), false)
    },

    async abort({ id }) {
      uploads.delete(id)
    },
  }
}

async function collect(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of abortable(bytes, signal)) chunks.push(Buffer.from(chunk))
  signal?.throwIfAborted()
  return Buffer.concat(chunks)
}

async function* chunksOf(content: Buffer, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(Math.min(chunkBytes, content.length))
  for (let at = 0; at < content.length; at += chunkBytes) {
    signal?.throwIfAborted()
    const chunk = buffer.subarray(0, content.copy(buffer, 0, at, at + chunkBytes))
    yield chunk
    chunk.fill(0)
  }
}
