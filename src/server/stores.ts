import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { freeBytes } from '../config/free-bytes.js'
import type { BlobStore, FilePut, LocalFiles, MultipartStore, Promote, SignedLinks } from '../storage/blob-store.js'
import { acceptsOnlyBytes } from './direct-uploads.js'
import { createFilesystemBlobStore } from '../storage/filesystem-blob-store.js'

/** Where this hub's bytes are. */
export interface HubStore {
  readonly store: BlobStore & FilePut & MultipartStore & Promote & Partial<SignedLinks>
  /** Undefined: the bytes are somewhere else. */
  readonly localFiles: LocalFiles | undefined
  /** Undefined: clients are not sent to the store. */
  readonly signedLinks: SignedLinks | undefined
  /** Whether they may put bytes there themselves, found out by trying. */
  provesUploads(): Promise<boolean>
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
export async function openStore(config: Pick<Config, 'dataDirectory' | 's3' | 'transfer'>): Promise<HubStore> {
  const { s3, transfer } = config
  if (s3) {
    // 10 MB that a hub with files of its own does not need.
    const { createS3BlobStore } = await import('../storage/s3-blob-store.js')
    const store = createS3BlobStore(s3)
    return {
      store,
      localFiles: undefined,
      signedLinks: transfer === 'direct' ? store : undefined,
      provesUploads: () => acceptsOnlyBytes(store, s3.bucket),
      shared: true,
      name: `the bucket ${s3.bucket} at ${s3.endpoint}`,
      // A store says that it is full when it is.
      freeBytes: async () => Number.MAX_SAFE_INTEGER,
      sweep: async () => undefined,
      close: () => store.close(),
    }
  }
  const directory = join(config.dataDirectory, 'blobs')
  const store = createFilesystemBlobStore({ directory })
  return {
    store,
    localFiles: store,
    signedLinks: undefined,
    provesUploads: async () => false,
    shared: false,
    name: directory,
    freeBytes: async () => freeBytes(config.dataDirectory),
    sweep: () => store.sweepTemporary(),
    close: async () => undefined,
  }
}
