import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { freeBytes } from '../config/free-bytes.js'
import type { BlobStore, FilePut, LocalFiles, Promote } from '../storage/blob-store.js'
import { createFilesystemBlobStore } from '../storage/filesystem-blob-store.js'

/** Where this hub's bytes are. */
export interface HubStore {
  readonly store: BlobStore & FilePut & Promote
  /** Undefined: it is reached over a network. */
  readonly localFiles: LocalFiles | undefined
  /** Every replica reaches it. */
  readonly shared: boolean
  /** For people. */
  readonly name: string
  /** How many bytes uploads may still take, now. */
  freeBytes(): Promise<number>
  close(): Promise<void>
}

/** The store that the settings name, swept of what writers that died left behind. */
export async function openStore(config: Config): Promise<HubStore> {
  const directory = join(config.dataDirectory, 'blobs')
  const store = createFilesystemBlobStore({ directory })
  await store.sweepTemporary()
  return {
    store,
    localFiles: store,
    shared: false,
    name: directory,
    freeBytes: async () => freeBytes(config.dataDirectory),
    close: async () => undefined,
  }
}
