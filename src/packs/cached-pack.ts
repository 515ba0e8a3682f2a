import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ProtocolError } from '../../protocol/errors.js'
import { HubError, whenDiskFull } from '../errors.js'
import { abortable } from '../storage/abortable.js'
import type { BlobStore } from '../storage/blob-store.js'
import { ifMissing } from '../storage/error-codes.js'
import { readFileChunks } from '../storage/file-chunks.js'
import { packKey } from '../storage/keys.js'
import type { PackName } from './local-packs.js'

/** Written at once: each write is a trip to another thread. Readers of a pack that is arriving follow in such steps. */
const writeBytes = 1024 * 1024
const readBytes = 256 * 1024

export interface CachedPackOptions {
  readonly store: BlobStore
  readonly path: string
  /** On the same file system, for files without a name. */
  readonly temporaryFolder: string
  /** True: a file of an earlier run lies there, which is not trusted before it was hashed. */
  readonly found: boolean
  /** Called when the file is here, or is not, and nothing is under way any more. */
  readonly onSettled: () => void
}

/** What tells a file from another one of that name. */
interface Stamp {
  readonly bytes: number
  readonly inode: bigint
  readonly modifiedNs: bigint
}

/** Bringing the file here, or making sure of it. */
interface Flight {
  readonly done: Promise<void>
  readonly stop: AbortController
}

/** One pack's file in the cache: absent, arriving, or here. */
export class CachedPack implements PackName {
  readonly sha256: Uint8Array
  readonly bytes: number
  readonly path: string
  /** Whoever needs it, those that wait for it included. */
  holders = 0
  /** Its file is being removed. */
  leaving = false
  /** When that has ended, well or not. */
  removed = Promise.resolve()
  /** It goes when nobody holds it. */
  unneeded = false
  readonly #options: CachedPackOptions
  #present: boolean
  /** Of the file that was hashed; undefined: it is still to be hashed. */
  #stamp: Stamp | undefined
  #flight: Flight | undefined
  /** Of a pack that is arriving: its file, and how much of it can be read. */
  #arriving: { readonly path: string; bytes: number } | undefined
  #followers: (() => void)[] = []

  constructor({ sha256, bytes }: PackName, options: CachedPackOptions) {
    this.sha256 = sha256
    this.bytes = bytes
    this.path = options.path
    this.#options = options
    this.#present = options.found
  }

  /** A whole file lies there, hashed or not. */
  get present(): boolean {
    return this.#present
  }

  get busy(): boolean {
    return this.#flight !== undefined
  }

  /**
   * Makes sure that the file is here and is the one that was hashed, once for all holders who ask at the same time.
   * @throws HubError `corrupt`, `storage-full`; whatever the store throws
   */
  async ready(): Promise<void> {
    // One that nobody wanted any more a moment ago has to end first: it may still have its file.
    while (this.#flight?.stop.signal.aborted) await this.#flight.done.catch(() => undefined)
    if (this.holders === 0) throw nobodyWaits() // nor is its room taken any more
    await (this.#flight ?? this.#begin((signal) => this.#prepare(signal))).done
  }

  /** Nobody waits any more. */
  cancel(): void {
    this.#flight?.stop.abort(nobodyWaits())
  }

  /** Takes over a file with these very bytes, unless there is one. It is gone from where it was either way. Never throws. */
  async adopt(path: string): Promise<void> {
    try {
      if (!this.#present && !this.#flight) await this.#begin(() => this.#install(path)).done
    } catch {
      // the first reader fetches it
    } finally {
      await rm(path, { force: true }).catch(() => undefined)
    }
  }

  /** As `PackLeasing.stream`: from the file as it grows. To be read while it is held. */
  async *follow(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    // One that was given up has a file that goes with it.
    while (this.#flight?.stop.signal.aborted) await this.#flight.done.catch(() => undefined)
    let outcome: { readonly error?: unknown } | undefined
    const settle = (result: { readonly error?: unknown }): void => {
      outcome = result
      this.#tell()
    }
    this.ready().then(
      () => settle({}),
      (error: unknown) => settle({ error }),
    )
    const buffer = Buffer.allocUnsafeSlow(Math.min(readBytes, this.bytes))
    let handle: FileHandle | undefined
    try {
      for (let at = 0; at < this.bytes; ) {
        if (signal?.aborted) throw new ProtocolError('cancelled', 'the client left')
        if (outcome && 'error' in outcome) throw outcome.error
        // Bytes that prove to be others are never all of a pack.
        const end = outcome ? this.bytes : Math.min(this.#arriving?.bytes ?? 0, this.bytes - 1)
        if (at >= end) {
          await this.#news(signal)
          continue
        }
        handle ??= await this.#openToFollow()
        const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at)
        if (bytesRead === 0) throw new HubError('corrupt', `${this.#name} ends at byte ${at} in the cache`)
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      await handle?.close()
    }
  }

  /** Removes the file. @throws whatever the system says, other than that there is none */
  async remove(): Promise<void> {
    await rm(this.path, { force: true })
    this.#present = false
  }

  get #name(): string {
    return `pack ${Buffer.from(this.sha256).toString('hex')}`
  }

  #begin(work: (signal: AbortSignal) => Promise<void>): Flight {
    const stop = new AbortController()
    const done = work(stop.signal).finally(() => {
      this.#flight = undefined
      this.#arriving = undefined
      this.#options.onSettled()
    })
    done.catch(() => undefined) // thrown to those who wait
    return (this.#flight = { done, stop })
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    const found = await stampOf(this.path)
    if (found && this.#stamp && isSame(found, this.#stamp)) return
    this.#stamp = undefined
    if (found && found.bytes === this.bytes && (await this.#hashes(signal))) {
      this.#stamp = found
      this.#present = true
      return
    }
    if (found) await rm(this.path, { force: true })
    this.#present = false
    await this.#fetch(signal)
  }

  async #hashes(signal: AbortSignal): Promise<boolean> {
    const hash = createHash('sha256')
    for await (const chunk of readFileChunks(this.path, { from: 0, to: this.bytes }, { name: this.#name, signal })) hash.update(chunk)
    return hash.digest().equals(this.sha256)
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const { temporaryFolder, store } = this.#options
    const path = join(temporaryFolder, randomUUID())
    try {
      await mkdir(temporaryFolder, { recursive: true, mode: 0o700 })
      const handle = await open(path, 'wx', 0o600)
      try {
        this.#arriving = { path, bytes: 0 }
        await this.#write(handle, await store.open(packKey(this.sha256), { signal }), signal)
      } finally {
        await handle.close()
      }
      await this.#install(path)
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined) // swept at the next start
      throw whenDiskFull(error, 'the cache of packs has no room left on its disk')
    }
  }

  async #write(handle: FileHandle, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const gathered = Buffer.allocUnsafeSlow(Math.min(writeBytes, this.bytes))
    let filled = 0
    const flush = async (): Promise<void> => {
      for (let done = 0; done < filled; ) done += (await handle.write(gathered, done, filled - done)).bytesWritten
      this.#arriving!.bytes += filled
      filled = 0
      this.#tell()
    }
    for await (const chunk of checked(this, abortable(chunks, signal))) {
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + gathered.length - filled)
        gathered.set(part, filled)
        filled += part.length
        at += part.length
        if (filled === gathered.length) await flush()
      }
    }
    await flush()
  }

  /** Gives a file its name. It need not outlive a power cut: what an earlier run left is hashed before it is used. */
  async #install(path: string): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 })
    await rename(path, this.path)
    this.#stamp = await stampOf(this.path)
    this.#present = true
  }

  /** It may have got its name just now. */
  async #openToFollow(): Promise<FileHandle> {
    const arriving = this.#arriving && (await open(this.#arriving.path, 'r').catch(ifMissing(undefined)))
    return arriving ?? open(this.path, 'r')
  }

  #tell(): void {
    for (const tell of this.#followers.splice(0)) tell()
  }

  async #news(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#followers.push(wake)
    signal?.addEventListener('abort', wake, { once: true })
    await promise
    signal?.removeEventListener('abort', wake)
  }
}

/**
 * The same chunks, checked against the pack's name before the last byte is passed on.
 * @throws HubError `corrupt`
 */
export async function* checked({ sha256, bytes }: PackName, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const key = packKey(sha256)
  const hash = createHash('sha256')
  let at = 0
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue
    at += chunk.length
    if (at > bytes) throw new HubError('corrupt', `${key} has more than its ${bytes} bytes in the store`)
    hash.update(chunk)
    if (at === bytes && !hash.digest().equals(sha256)) throw new HubError('corrupt', `${key} has other bytes in the store than its name says`)
    yield chunk
  }
  if (at < bytes) throw new HubError('corrupt', `${key} ends at byte ${at} of ${bytes} in the store`)
}

const nobodyWaits = (): ProtocolError => new ProtocolError('cancelled', 'nobody waits for the pack any more')

async function stampOf(path: string): Promise<Stamp | undefined> {
  const stats = await stat(path, { bigint: true }).catch(ifMissing(undefined))
  return stats && { bytes: Number(stats.size), inode: stats.ino, modifiedNs: stats.mtimeNs }
}

const isSame = (a: Stamp, b: Stamp): boolean => a.bytes === b.bytes && a.inode === b.inode && a.modifiedNs === b.modifiedNs
