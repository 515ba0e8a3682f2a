import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobStore, MultipartStore, MultipartUpload, UploadedPart } from './blob-store.js'
import type { DurableFolders } from './durable-folders.js'
import { ifMissing } from './error-codes.js'
import { readFileChunks } from './file-chunks.js'
import { checkPartNumber, partMissing, sortParts, uploadEnded } from './parts.js'
import type { TemporaryFiles } from './temporary-files.js'

export interface FilesystemMultipartOptions {
  readonly folder: string
  readonly folders: DurableFolders
  readonly temporary: TemporaryFiles
  readonly put: BlobStore['put']
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** An upload is a folder, a part a file `<number>-<tag>` in it, synced like a blob: a part that was confirmed need not come again. */
export function createFilesystemMultipart({ folder, folders, temporary, put }: FilesystemMultipartOptions): MultipartStore {
  const find = async ({ id }: MultipartUpload): Promise<string> => {
    if (!uuid.test(id) || !(await stat(join(folder, id)).catch(ifMissing(undefined)))) throw uploadEnded()
    return join(folder, id)
  }

  return {
    async begin(key) {
      const id = randomUUID()
      await folders.ensure(folder)
      await mkdir(join(folder, id), 0o700)
      await folders.sync(folder)
      return { key, id }
    },

    async part(upload, number, bytes, { signal } = {}) {
      checkPartNumber(number)
      const uploadFolder = await find(upload)
      const file = await temporary.write(bytes, signal)
      const part = { number, bytes: file.bytes, tag: randomUUID() }
      try {
        await rename(file.path, partPath(uploadFolder, part))
        await folders.sync(uploadFolder)
      } catch (error) {
        await rm(file.path, { force: true })
        ifMissing(undefined)(error)
        throw uploadEnded(error)
      }
      return part
    },

    async complete(upload, parts) {
      const uploadFolder = await find(upload)
      const sorted = sortParts(parts)
      for (const part of sorted) {
        const stats = uuid.test(part.tag) ? await stat(partPath(uploadFolder, part)).catch(ifMissing(undefined)) : undefined
        if (stats?.size !== part.bytes) throw partMissing(part.number)
      }
      const info = await put(upload.key, joined(uploadFolder, sorted))
      await rm(uploadFolder, { recursive: true, force: true })
      return info
    },

    async abort({ id }) {
      if (uuid.test(id)) await rm(join(folder, id), { recursive: true, force: true })
    },
  }
}

const partPath = (uploadFolder: string, { number, tag }: UploadedPart): string => join(uploadFolder, `${number}-${tag}`)

async function* joined(uploadFolder: string, parts: readonly UploadedPart[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield* readFileChunks(partPath(uploadFolder, part), { from: 0, to: part.bytes }, { name: `part ${part.number}` })
}
