import { randomUUID } from 'node:crypto'
import { link, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { whenDiskFull } from '../errors.js'
import { abortable } from './abortable.js'
import type { DurableFolders } from './durable-folders.js'
import { ifMissing } from './error-codes.js'

/** A file nobody knows yet, whole and synced. */
export interface TemporaryFile {
  readonly path: string
  readonly bytes: number
}

/** Files on their way into a store, on its file system, so that giving them their name is one step. */
export class TemporaryFiles {
  readonly #folder: string
  readonly #folders: DurableFolders

  constructor(folder: string, folders: DurableFolders) {
    this.#folder = folder
    this.#folders = folders
  }

  /**
   * Writes and syncs; the caller gives it its name. When bytes, disk or signal say no, their error is thrown and nothing is left.
   * @throws HubError `storage-full`
   */
  async write(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<TemporaryFile> {
    signal?.throwIfAborted()
    await this.#folders.ensure(this.#folder)
    const path = join(this.#folder, randomUUID())
    return { path, bytes: await writeNewFile(path, bytes, signal) }
  }

  /** Gives a file its name, for good. With `ifAbsent` a file that has the name already stays. The temporary one is gone either way. */
  async install({ path }: TemporaryFile, target: string, { ifAbsent = false } = {}): Promise<void> {
    try {
      await this.#folders.ensure(dirname(target))
      if (!ifAbsent || !(await linkOnce(path, target))) await rename(path, target)
    } catch (error) {
      await rm(path, { force: true })
      throw whenDiskFull(error, 'the store has no room left')
    }
    if (ifAbsent) await rm(path, { force: true })
    await this.#folders.sync(dirname(target))
  }

  /** Removes all of them: for who starts, and knows that no other process works here. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#folder).catch(ifMissing([]))
    for (const name of names) await rm(join(this.#folder, name), { recursive: true, force: true })
  }
}

/** False: this file system knows no hard links. There the last one wins, which for equal bytes is as good. */
async function linkOnce(path: string, target: string): Promise<boolean> {
  try {
    await link(path, target)
    return true
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (code === 'EEXIST') return true
    if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) return false
    throw error
  }
}

/** Written at once: each write is a trip to another thread. */
const writeBytes = 256 * 1024

/**
 * Writes a file that is not there yet, and syncs it; how many bytes it has. When bytes, disk or signal say no, their error is thrown and the file
 * is gone.
 * @throws HubError `storage-full`
 */
async function writeNewFile(path: string, bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<number> {
  signal?.throwIfAborted()
  try {
    const handle = await open(path, 'wx', 0o600)
    try {
      const written = await writeAll(handle, abortable(bytes, signal))
      signal?.throwIfAborted()
      await handle.sync()
      return written
    } finally {
      await handle.close()
    }
  } catch (error) {
    await rm(path, { force: true })
    throw whenDiskFull(error, 'the store has no room left')
  }
}

/** Chunks are gathered in one buffer while another is written. */
async function writeAll(handle: FileHandle, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let [gathering, spare] = [Buffer.alloc(0), Buffer.alloc(0)]
  let filled = 0
  let written = 0
  let writing: Promise<void> = Promise.resolve()
  const flush = async (): Promise<void> => {
    await writing
    writing = handle.appendFile(gathering.subarray(0, filled))
    writing.catch(() => undefined) // thrown where it is waited for
    filled = 0
    ;[gathering, spare] = [spare, gathering]
  }
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        if (gathering.length < writeBytes) gathering = Buffer.allocUnsafeSlow(writeBytes)
        const part = chunk.subarray(at, at + writeBytes - filled)
        gathering.set(part, filled)
        filled += part.length
        at += part.length
        if (filled === writeBytes) await flush()
      }
      written += chunk.length
    }
    if (filled > 0) await flush()
  } finally {
    await writing
  }
  return written
}

/** Gives a file another name, unless that is taken; the old name is gone either way. @throws ENOENT when the file is not there */
export async function giveName(path: string, target: string): Promise<void> {
  if (await linkOnce(path, target)) await rm(path, { force: true })
  else await rename(path, target)
}
