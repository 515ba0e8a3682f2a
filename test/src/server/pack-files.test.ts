import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { packKey } from '../../../src/storage/keys.js'
import { createFilesystemBlobStore } from '../../../src/storage/filesystem-blob-store.js'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { openPackFiles } from '../../../src/server/pack-files.js'

const settings = (folder: string) => ({ cacheDirectory: join(folder, 'cache'), cacheBytes: 1_000, maxPackBytes: 5_000 })
const hash = Buffer.alloc(32, 7)

t.test('packs of a store on disk are read where they lie', async (t) => {
  const folder = t.testdir()
  const store = createFilesystemBlobStore({ directory: join(folder, 'blobs') })
  const opened = await openPackFiles(settings(folder), { store, localFiles: store })
  t.equal(opened.localPacks.pathOf(hash), store.pathOf(packKey(hash)))
  t.equal(opened.localPacks.leasing, undefined)
  t.equal(opened.files, store)
  t.equal(opened.maxPackBytes, 5_000)
  opened.close()
  t.same(await readdir(folder), [], 'there is no cache')
})

t.test('of any other store they are kept in the cache, which one hub has alone', async (t) => {
  const folder = t.testdir()
  const store = createMemoryBlobStore()
  const opened = await openPackFiles(settings(folder), { store, localFiles: undefined })
  t.equal(opened.localPacks.pathOf(hash), join(folder, 'cache', packKey(hash)))
  t.equal(opened.maxPackBytes, 1_000, 'what could not be read is not taken')
  await t.rejects(openPackFiles(settings(folder), { store, localFiles: undefined }), {
    code: 'config',
    message: `another hub is using ${join(folder, 'cache')}: stop it first, or set CAIRN_CACHE_DIR to another folder`,
  })
  opened.close()
  ;(await openPackFiles(settings(folder), { store, localFiles: undefined })).close()
})
