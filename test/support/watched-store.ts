import type { BlobKey, BlobStore, FilePut } from '../../src/storage/blob-store.js'

/** A store behind its port alone, with a hand on what comes out of it. */
export interface WatchedStore {
  /** No files, whatever it is made of. */
  readonly store: BlobStore & FilePut
  /** How often each key was opened. */
  readonly opened: Map<BlobKey, number>
  /** Streams that were given up before their end. */
  leftEarly: number
  /** Awaited before each chunk. */
  pace: (key: BlobKey, at: number) => Promise<void> | void
  /** What comes out in place of what is stored; a chunk may be changed, cut or replaced by an error. */
  spoil: (chunk: Buffer, at: number) => Uint8Array
}

export function watchStore(inner: BlobStore & FilePut): WatchedStore {
  const watched: WatchedStore = {
    opened: new Map(),
    leftEarly: 0,
    pace: () => undefined,
    spoil: (chunk) => chunk,
    store: {
      stat: (key) => inner.stat(key),
      put: (key, bytes, options) => inner.put(key, bytes, options),
      delete: (key) => inner.delete(key),
      list: (prefix) => inner.list(prefix),
      ping: () => inner.ping(),
      putFile: (key, path, sha256) => inner.putFile(key, path, sha256),
      async open(key, options) {
        watched.opened.set(key, (watched.opened.get(key) ?? 0) + 1)
        const stream = await inner.open(key, options)
        return { [Symbol.asyncIterator]: () => watchedChunks(key, stream, watched) }
      },
    },
  }
  return watched
}

async function* watchedChunks(key: BlobKey, stream: AsyncIterable<Uint8Array>, watched: WatchedStore): AsyncGenerator<Uint8Array> {
  let at = 0
  let ended = false
  try {
    for await (const chunk of stream) {
      await watched.pace(key, at)
      const out = watched.spoil(Buffer.from(chunk), at)
      at += chunk.length
      yield out
    }
    ended = true
  } finally {
    if (!ended) watched.leftEarly++
  }
}
