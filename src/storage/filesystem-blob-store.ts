import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, BlobStore, FilePut, LocalFiles, MultipartStore, Promote } from './blob-store.js'
import { checkRange } from './check-range.js'
import { DurableFolders } from './durable-folders.js'
import { ifCode, ifMissing } from './error-codes.js'
import { readFileChunks } from './file-chunks.js'
import { createFilesystemMultipart } from './filesystem-multipart.js'
import { listFiles } from './list-files.js'
import { giveName, TemporaryFiles } from './temporary-files.js'

export interface FilesystemBlobStore extends BlobStore, FilePut, LocalFiles, MultipartStore, Promote {
  /** Removes what writers that died left behind. Only for who holds the data lock, before anything is written. */
  sweepTemporary(): Promise<void>
}

/**
 * Blobs as files, each at its key below `directory`, which is made when it is needed. Beside them lie `tmp/`, files that have no name yet,
 * and `multipart/`, uploads under way.
 *
 * A file gets its name after its bytes are synced, and a call comes back after the name is: file, rename, folder. Who finds the bytes
 * there already syncs the folder as well, because whoever brought them may have died before doing so.
 */
export function createFilesystemBlobStore({ directory }: { readonly directory: string }): FilesystemBlobStore {
  const folders = new DurableFolders(directory)
  const temporaryFolder = join(directory, 'tmp')
  const temporary = new TemporaryFiles(temporaryFolder, folders)
  const pathOf = (key: BlobKey): string => join(directory, key)

  const find = async (key: BlobKey): Promise<BlobInfo | undefined> => {
    const stats = await stat(pathOf(key)).catch(ifMissing(undefined))
    return stats && { key, bytes: stats.size, modifiedAt: stats.mtime }
  }
  const get = async (key: BlobKey): Promise<BlobInfo> => {
    const info = await find(key)
    if (!info) throw new HubError('corrupt', `${key} is not in the store`)
    return info
  }
  /** Makes sure that a name which is there stays there. */
  const confirm = async (key: BlobKey): Promise<void> => {
    const folder = dirname(pathOf(key))
    await folders.ensure(folder)
    await folders.sync(folder)
  }
  const put: BlobStore['put'] = async (key, bytes, { ifAbsent = false, signal } = {}) => {
    signal?.throwIfAborted()
    if (ifAbsent && (await find(key))) await confirm(key)
    else await temporary.install(await temporary.write(bytes, signal), pathOf(key), { ifAbsent })
    return get(key)
  }

  return {
    pathOf,
    stat: find,
    put,

    async open(key, { range, signal } = {}) {
      const { bytes } = await get(key)
      const checked = checkRange(key, bytes, range)
      // The file is opened for the first chunk: a stream nobody reads holds nothing.
      return { [Symbol.asyncIterator]: () => readFileChunks(pathOf(key), checked, { name: key, signal }) }
    },

    async delete(key) {
      await rm(pathOf(key), { force: true })
      // A name that came back after a power cut would belong to no row.
      await folders.sync(dirname(pathOf(key))).catch(ifMissing(undefined))
    },

    list: (prefix) => listFiles(directory, prefix),

    async ping() {
      await folders.ensure(temporaryFolder)
      await access(temporaryFolder, constants.R_OK | constants.W_OK)
    },

    async putFile(key, path, sha256) {
      const bytes = await syncFile(path)
      const target = pathOf(key)
      if ((await find(key))?.bytes === bytes) {
        await confirm(key)
      } else {
        await folders.ensure(dirname(target))
        if (await rename(path, target).then(() => true, ifCode(['EXDEV'], false))) await folders.sync(dirname(target))
        else await temporary.install(await temporary.write(hashed(path, bytes, sha256)), target)
      }
      await rm(path, { force: true })
    },

    async stage(staging, bytes, { signal } = {}) {
      await folders.ensure(dirname(pathOf(staging)))
      const { path, bytes: size } = await temporary.write(bytes, signal)
      await rename(path, pathOf(staging))
      return size
    },

    async promote(staging, final, { bytes } = {}) {
      const folder = dirname(pathOf(final))
      const made = folders.make(folder)
      const [there] = await Promise.all([bytes === undefined ? undefined : find(final), made.made])
      const replaces = there !== undefined && there.bytes !== bytes && (await find(staging))?.bytes === bytes
      // Gone: somebody else promoted it, or there never was anything.
      await (replaces ? rename : giveName)(pathOf(staging), pathOf(final)).catch(ifMissing(undefined))
      // The disk can do these together.
      const [info] = await Promise.all([find(final), made.synced, folders.sync(folder)])
      if (!info) throw new HubError('not-found', `${staging} is not in the store`)
      return info
    },

    sweepTemporary: () => temporary.sweep(),
    ...createFilesystemMultipart({ folder: join(directory, 'multipart'), folders, temporary, put }),
  }
}

/** Comes back with the size. */
async function syncFile(path: string): Promise<number> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}

async function* hashed(path: string, bytes: number, sha256: Uint8Array): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  for await (const chunk of readFileChunks(path, { from: 0, to: bytes }, { name: path })) {
    hash.update(chunk)
    yield chunk
  }
  if (!hash.digest().equals(sha256)) throw new HubError('corrupt', `${path} changed before it was stored`)
}
