import type { LfsOid } from '../../lfs/types.js'
import { createKeeper } from '../../src/kept/keep.js'
import { createLargeFiles } from '../../src/large-files/create-large-files.js'
import type { LargeFiles } from '../../src/large-files/large-files.js'
import { createFilesystemBlobStore } from '../../src/storage/filesystem-blob-store.js'
import type { Domain } from './domain.js'

export interface CountedLargeFiles extends LargeFiles {
  /** Whose bytes were taken in, in order. */
  readonly received: LfsOid[]
}

/** Large files as the hub has them, over the database and the folder of a domain. */
export function openLargeFiles({ db, blobDirectory }: Domain): CountedLargeFiles {
  const store = createFilesystemBlobStore({ directory: blobDirectory })
  const largeFiles = createLargeFiles({
    db,
    store,
    staging: store,
    keeper: createKeeper({ db, store }),
    reservableBytes: async () => 2 ** 30,
  })
  const received: LfsOid[] = []
  return {
    ...largeFiles,
    received,
    async receive(upload, bytes) {
      await largeFiles.receive(upload, bytes)
      received.push(upload.oid)
    },
  }
}
