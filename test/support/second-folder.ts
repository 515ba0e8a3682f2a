import { join } from 'node:path'
import { createVersions } from '../../src/db/versions.js'
import { createKeeper } from '../../src/kept/keep.js'
import { createFold, type Fold } from '../../src/packs/collect/fold.js'
import { repackHere } from '../../src/packs/collect/repack-here.js'
import { packsInStore } from '../../src/packs/local-packs.js'
import { createPacks } from '../../src/packs/packs.js'
import { openSpool } from '../../src/packs/spool.js'
import { createFilesystemBlobStore } from '../../src/storage/filesystem-blob-store.js'
import { slices } from './domain.js'
import type { ServedHub } from './served-hub.js'

interface Teardown {
  teardown(work: () => unknown): void
}

/** Folds packs of a hub when a test says so, as another hub on the same database and store would. More than three packs are many here. */
export function foldBeside(t: Teardown, hub: ServedHub): Fold {
  const { db, dataDirectory } = hub
  const store = createFilesystemBlobStore({ directory: join(dataDirectory, 'blobs') })
  const spool = openSpool({ directory: join(dataDirectory, 'spool'), hubId: 'second', bootId: 'boot', maxBytes: 2 ** 30, maxPackBytes: 2 ** 29 })
  const packs = createPacks({
    db,
    store,
    files: store,
    localPacks: packsInStore(store),
    keeper: createKeeper({ db, store }),
    spool,
    ingestBytes: 64 * 2 ** 20,
    tableBytes: 64 * 2 ** 20,
  })
  t.teardown(() => packs.close())
  const limits = { maxInline: 3, maxPacks: 3 }
  return createFold({ db, packs, versions: createVersions(db), repack: repackHere, slices, maxPackBytes: 2 ** 29, limits })
}
