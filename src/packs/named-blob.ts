import type { KeptBlob } from '../kept/keep.js'
import type { BlobKey, BlobStore } from '../storage/blob-store.js'
import { oneChunk } from '../storage/whole-bytes.js'

/** Stores bytes under their own hash. What is there stays, unless it has another size and so cannot be what its name says. */
export async function putNamed(store: BlobStore, key: BlobKey, bytes: number, source: () => AsyncIterable<Uint8Array>): Promise<void> {
  const there = await store.put(key, source(), { ifAbsent: true })
  if (there.bytes !== bytes) await store.put(key, source())
}

/** Bytes in memory for a keeper, under their own hash. */
export const namedBlob = (store: BlobStore, key: BlobKey, content: Uint8Array): KeptBlob => ({
  key,
  bytes: content.length,
  write: () => putNamed(store, key, content.length, () => oneChunk(content)),
})
