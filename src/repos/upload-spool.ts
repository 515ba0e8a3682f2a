import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { parseLfsOid, type LfsOid } from '../../lfs/types.js'
import { HubError, whenDiskFull } from '../errors.js'

/** An uploaded file, whole, on the disk. */
export interface SpooledFile {
  /** Bytes. */
  readonly size: number
  /** Its SHA-256: what it is called as a large object. */
  readonly sha256: LfsOid
  /** All of it in memory: for small ones. */
  readAll(): Promise<Uint8Array>
  /** A chunk is the reader's to keep. */
  chunks(): AsyncIterable<Uint8Array>
  /** Never throws. */
  dispose(): Promise<void>
}

/** Where the files of a form wait until all of it is there: only then it is known what becomes of them. */
export interface UploadSpool {
  /** @throws HubError `too-large`, `storage-full`; whatever the chunks throw. Nothing is left behind then */
  receive(chunks: AsyncIterable<Uint8Array>): Promise<SpooledFile>
  /** Bytes held now. */
  readonly usedBytes: number
}

export interface UploadSpoolOptions {
  /** A folder that whoever starts the hub empties. */
  readonly directory: string
  /** All uploads under way together. */
  readonly maxBytes: number
}

export function createUploadSpool({ directory, maxBytes }: UploadSpoolOptions): UploadSpool {
  let usedBytes = 0
  return {
    get usedBytes() {
      return usedBytes
    },
    async receive(chunks) {
      const path = join(directory, `upload-${randomUUID()}`)
      const hash = createHash('sha256')
      let size = 0
      const dispose = async (): Promise<void> => {
        const freed = size
        size = 0
        await rm(path, { force: true }).catch(() => undefined)
        usedBytes -= freed
      }
      try {
        await mkdir(directory, { recursive: true, mode: 0o700 })
        const handle = await open(path, 'wx', 0o600)
        try {
          for await (const chunk of chunks) {
            if (usedBytes + chunk.length > maxBytes) {
              throw new HubError('too-large', `the uploads under way are over the ${maxBytes} bytes the hub has room for, try again later`)
            }
            usedBytes += chunk.length
            size += chunk.length
            hash.update(chunk)
            await handle.appendFile(chunk)
          }
        } finally {
          await handle.close()
        }
      } catch (error) {
        await dispose()
        throw whenDiskFull(error, 'the hub has no room left for uploads')
      }
      const whole = size
      return {
        size: whole,
        sha256: parseLfsOid(hash.digest('hex')),
        readAll: () => readFile(path),
        chunks: () => createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>,
        dispose,
      }
    },
  }
}
