import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { freeBytes } from '../config/free-bytes.js'
import type { BlobStore, FilePut, LocalFiles, Promote } from '../storage/blob-store.js'
import { createFilesystemBlobStore } from '../storage/filesystem-blob-store.js'

/** Where this hub's bytes are. */
export interface HubStore {
  readonly store: BlobStore & FilePut & Promote
  readonly localFiles: LocalFiles
  /** Every replica reaches it. */
  readonly shared: boolean
  /** For people. */
  readonly name: string
  /** How many bytes uploads may still take, now. */
  freeBytes(): Promise<number>
  /** Removes what writers that died left behind. Only before anything is written, and only for who holds the data lock. */
  sweep(): Promise<void>
  close(): Promise<void>
}

/** The store that the settings name. Nothing is asked of it yet. */
export function openStore(config: Config): HubStore {
  const directory = join(config.dataDirectory, 'blobs')
  const store = createFilesystemBlobStore({ directory })
  return {
    store,
    localFiles: store,
    shared: false,
    name: directory,
    freeBytes: async () => freeBytes(config.dataDirectory),
    sweep: () => store.sweepTemporary(),
    close: async () => undefined,
  }
}
