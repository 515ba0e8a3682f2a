import { createHash, type Hash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'
import { mkdir, open, readdir, rm, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { ProtocolError } from '../../protocol/errors.js'
import type { ByteSource } from '../../protocol/pack/indexer.js'
import type { Slices } from '../../protocol/ports.js'
import { HubError, whenDiskFull } from '../errors.js'

export interface SpoolOptions {
  readonly directory: string
  /** This hub, and this run of it: what other runs of the same hub left behind is rubbish. */
  readonly hubId: string
  readonly bootId: string
  /** Packs of all pushes under way together, bytes. */
  readonly maxBytes: number
  readonly maxPackBytes: number
  /** Up to here a pack stays in memory. */
  readonly memoryBytes?: number
}

/** Where packs wait while they are checked. Nobody else sees them, and nothing of them outlives the push. */
export interface Spool {
  /** Removes what earlier runs of this hub left. Only for who holds the data lock. */
  sweep(): Promise<void>
  /**
   * Takes in a whole pack. `onGrowth` is called after every chunk of a pack that is in a file by then.
   * @throws ProtocolError `too-large`; HubError `storage-full`; whatever the chunks throw. Nothing is left behind then
   */
  receive(updateId: string, chunks: AsyncIterable<Uint8Array>, onGrowth?: OnGrowth): Promise<SpooledPack>
  /** Bytes held now. */
  readonly usedBytes: number
  /** Bytes that may still come. */
  readonly roomBytes: number
  /** Of this run of this hub. Whatever else lies there is removed as well when the hub starts again. */
  readonly directory: string
}

export type OnGrowth = (pack: SpooledPack) => void

export function openSpool({ directory, hubId, bootId, maxBytes, maxPackBytes, memoryBytes = 1024 * 1024 }: SpoolOptions): Spool {
  const hubDirectory = join(directory, hubId)
  const bootDirectory = join(hubDirectory, bootId)
  let usedBytes = 0
  const reserve = (bytes: number, packBytes: number): void => {
    if (packBytes + bytes > maxPackBytes) throw new ProtocolError('too-large', `the pack is over the limit of ${maxPackBytes} bytes`)
    if (usedBytes + bytes > maxBytes) {
      throw new ProtocolError('too-large', `the pushes under way are over the ${maxBytes} bytes the hub has room for, try again later`)
    }
    usedBytes += bytes
  }
  return {
    directory: bootDirectory,
    get usedBytes() {
      return usedBytes
    },
    get roomBytes() {
      return maxBytes - usedBytes
    },
    sweep: () => sweepBoots(hubDirectory, bootId),
    async receive(updateId, chunks, onGrowth) {
      const pack = new SpooledPack({
        directory: bootDirectory,
        name: updateId,
        memoryBytes,
        reserve,
        free: (bytes) => {
          usedBytes -= bytes
        },
      })
      try {
        for await (const chunk of chunks) {
          await pack.append(chunk)
          if (pack.path !== undefined) onGrowth?.(pack)
        }
        pack.beginSync()
        return pack
      } catch (error) {
        await pack.dispose()
        throw error
      }
    },
  }
}

/** Removes the folders of all runs but this one. */
export async function sweepBoots(hubDirectory: string, bootId: string): Promise<void> {
  const boots = await readdir(hubDirectory).catch(ifAbsent([]))
  for (const boot of boots) if (boot !== bootId) await rm(join(hubDirectory, boot), { recursive: true, force: true })
}

const ifAbsent =
  <T>(value: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code !== 'ENOENT') throw error
    return value
  }

interface SpooledPackOptions {
  readonly directory: string
  readonly name: string
  readonly memoryBytes: number
  /** @throws when there is no room */
  readonly reserve: (bytes: number, packBytes: number) => void
  readonly free: (bytes: number) => void
}

/** Reads that go on where the last one ended get this much at once. */
const sequentialBytes = 1024 * 1024
/** Others get a little more than they asked for: what they want next is often near. */
const randomBytes = 16 * 1024

/** A spooled pack as another thread can open it. Cloneable. */
export interface SpoolState {
  readonly directory: string
  readonly name: string
  readonly memoryBytes: number
  readonly length: number
  /** Undefined: the pack is in `memory`. */
  readonly path: string | undefined
  readonly memory: Uint8Array | undefined
  /** Of all that was received; undefined while more is to come. */
  readonly sha256: Uint8Array | undefined
}

/** One pack, in memory while it is small, else in a file. */
export class SpooledPack implements ByteSource {
  readonly #options: SpooledPackOptions
  readonly #sha256: Hash = createHash('sha256')
  #receivedSha256: Buffer | undefined
  #whole = true
  /** Of a pack that another thread owns. */
  #room: { bytes: number } | undefined
  #completed: { readonly sha1: Buffer; readonly sha256: Buffer } | undefined
  /** In memory: capacity doubles, `#length` of it is used. */
  #memory: Buffer = Buffer.alloc(0)
  #file: { readonly path: string; readonly handle: FileHandle } | undefined
  #moved = false
  #synced: Promise<void> | undefined
  #length = 0
  #window: Buffer = Buffer.alloc(0)
  #windowStart = 0
  #windowEnd = 0

  constructor(options: SpooledPackOptions) {
    this.#options = options
  }

  /** The pack that `state` of another thread tells of. It may be completed as far as `allow` allows. `detach` ends it. */
  static async reopen(state: SpoolState): Promise<SpooledPack> {
    const { directory, name, memoryBytes, length, path, memory, sha256 } = state
    const room = { bytes: 0 }
    const reserve = (bytes: number): void => {
      room.bytes -= bytes
      if (room.bytes < 0) throw new ProtocolError('too-large', 'the pushes under way leave no room for the bases of this one, try again later')
    }
    const pack = new SpooledPack({ directory, name, memoryBytes, reserve, free: (bytes) => (room.bytes += bytes) })
    pack.#room = room
    pack.#length = length
    pack.#receivedSha256 = sha256 && Buffer.from(sha256)
    pack.#whole = sha256 !== undefined
    if (path === undefined) pack.#memory = Buffer.from(memory!.buffer, memory!.byteOffset, memory!.length)
    else pack.#file = { path, handle: await open(path, 'r+') }
    return pack
  }

  /** For another thread. `growing`: more is to come, which the other is told of as it does. */
  state({ growing = false }: { readonly growing?: boolean } = {}): SpoolState {
    const { directory, name, memoryBytes } = this.#options
    if (!growing) this.#receivedSha256 ??= this.#sha256.digest()
    const sha256 = growing ? undefined : Uint8Array.from(this.#receivedSha256!)
    return { directory, name, memoryBytes, length: this.#length, path: this.path, memory: this.memory && Uint8Array.from(this.memory), sha256 }
  }

  /**
   * Takes over what another thread made of the pack: bases at its end, a file in place of memory.
   * @throws ProtocolError `too-large`
   */
  async adopt({ length, path, memory }: SpoolState): Promise<void> {
    const grown = length - this.#length
    if (path !== undefined && !this.#file) {
      this.#file = { path, handle: await open(path, 'r+') }
      this.#memory = Buffer.alloc(0)
    } else if (memory) {
      this.#memory = Buffer.from(memory.buffer, memory.byteOffset, memory.length)
    }
    this.#windowStart = this.#windowEnd = 0
    if (grown > 0) this.#options.reserve(grown, this.#length)
    else this.#options.free(-grown)
    this.#length = length
  }

  /** False while its owner receives more. */
  get whole(): boolean {
    return this.#whole
  }

  /** The owner has received more; with its hash, all there is. */
  grow(length: number, sha256?: Uint8Array): void {
    this.#length = length
    if (sha256 === undefined) return
    this.#receivedSha256 = Buffer.from(sha256)
    this.#whole = true
  }

  /** By how much the pack may grow when it is completed. */
  allow(bytes: number): void {
    if (this.#room) this.#room.bytes = bytes
  }

  /** Closes the pack and leaves its bytes to the thread that owns them. */
  async detach(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.handle.close()
  }

  get length(): number {
    return this.#length
  }

  /** The file; undefined while the pack is in memory. */
  get path(): string | undefined {
    return this.#file?.path
  }

  /** The whole pack, for packs in memory. */
  get memory(): Buffer | undefined {
    return this.#file ? undefined : this.#memory.subarray(0, this.#length)
  }

  /** Adds what was received. The chunk may be reused afterwards. */
  async append(chunk: Uint8Array): Promise<void> {
    this.#options.reserve(chunk.length, this.#length)
    const at = this.#length
    this.#length += chunk.length
    this.#sha256.update(chunk)
    if (!this.#file && this.#length > this.#options.memoryBytes) await this.#moveToFile(at)
    if (this.#file) await writeFully(this.#file.handle, chunk, at)
    else this.#writeToMemory(chunk, at)
  }

  /** Has the disk take in what was received while it is being checked, so that publishing need not wait for it. */
  beginSync(): void {
    this.#synced = this.#file?.handle.datasync()
    this.#synced?.catch(() => {}) // `moveTo` throws it
  }

  read(from: number, to: number): Uint8Array {
    if (!(from >= 0 && from <= to && to <= this.#length)) {
      throw new ProtocolError('bad-pack', `the pack ends at ${this.#length}, bytes ${from} to ${to} were wanted`)
    }
    if (!this.#file) return this.#memory.subarray(from, to)
    if (from < this.#windowStart || to > this.#windowEnd) this.#fill(from, to)
    return this.#window.subarray(from - this.#windowStart, to - this.#windowStart)
  }

  /**
   * Turns a thin pack into a whole one: `bases` are entries that stand at `at`, where the trailer stood; `count` is the new number of objects.
   * `seal` has to follow. A small pack may need large bases, and moves to a file then as well.
   * @throws ProtocolError `too-large`; HubError `storage-full`
   */
  async complete(bases: Uint8Array, at: number): Promise<void> {
    const grown = at + bases.length - this.#length
    if (grown > 0) this.#options.reserve(grown, this.#length)
    else this.#options.free(-grown)
    this.#length = at + bases.length
    if (!this.#file && this.#length > this.#options.memoryBytes) await this.#moveToFile(at)
    this.#write(bases, at)
  }

  /** Writes the number of objects into the header and a new trailer at the end, and computes both checksums. */
  async seal(count: number, slices: Slices): Promise<void> {
    const header = Buffer.alloc(4)
    header.writeUInt32BE(count)
    this.#write(header, 8)
    const sha1 = createHash('sha1')
    const sha256 = createHash('sha256')
    for (let at = 0; at < this.#length; at += sequentialBytes) {
      const bytes = this.read(at, Math.min(this.#length, at + sequentialBytes))
      sha1.update(bytes)
      sha256.update(bytes)
      const pause = slices.pause()
      if (pause) await pause
    }
    const trailer = sha1.digest()
    this.#options.reserve(trailer.length, this.#length)
    const at = this.#length
    this.#length += trailer.length
    this.#write(trailer, at)
    this.#completed = { sha1: trailer, sha256: sha256.update(trailer).digest() }
  }

  /** Checksums of the pack as it stands: its trailer, and SHA-256 over all of it. */
  checksums(): { readonly sha1: Buffer; readonly sha256: Buffer } {
    if (this.#completed) return this.#completed
    this.#receivedSha256 ??= this.#sha256.digest()
    return { sha1: Buffer.from(this.read(this.#length - 20, this.#length)), sha256: this.#receivedSha256 }
  }

  /**
   * Gives the pack away: `move` takes the file over by its path, and may do so once; otherwise, and for a pack in memory, `copy` gets
   * the bytes, as often as it asks. Reading goes on afterwards.
   */
  async moveTo(move: (path: string) => Promise<void>, copy: (bytes: () => AsyncIterable<Uint8Array>) => Promise<void>): Promise<void> {
    if (!this.#file || this.#moved) return copy(() => this.#chunks())
    // The system tells of bytes it could not write only once: not to whoever syncs next.
    await this.#synced?.catch(asHubError)
    this.#moved = true
    await move(this.#file.path)
  }

  /** A chunk is valid until the next. */
  async *#chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < this.#length; at += sequentialBytes) yield this.read(at, Math.min(this.#length, at + sequentialBytes))
  }

  /** Never throws. */
  async dispose(): Promise<void> {
    this.#options.free(this.#length)
    this.#length = 0
    this.#memory = this.#window = Buffer.alloc(0)
    this.#windowStart = this.#windowEnd = 0
    const file = this.#file
    this.#file = undefined
    if (!file) return
    await file.handle.close().catch(() => {})
    await unlink(file.path).catch(() => {}) // publishing may have moved it away
  }

  #writeToMemory(bytes: Uint8Array, at: number): void {
    if (at + bytes.length > this.#memory.length) {
      const larger = Buffer.allocUnsafe(Math.max(at + bytes.length, this.#memory.length * 2, 4096))
      larger.set(this.#memory.subarray(0, at))
      this.#memory = larger
    }
    this.#memory.set(bytes, at)
  }

  async #moveToFile(bytes: number): Promise<void> {
    const { directory, name } = this.#options
    await mkdir(directory, { recursive: true, mode: 0o700 }).catch(asHubError)
    const path = join(directory, name)
    const handle = await open(path, 'wx+', 0o600).catch(asHubError)
    this.#file = { path, handle }
    await writeFully(handle, this.#memory.subarray(0, bytes), 0)
    this.#memory = Buffer.alloc(0)
  }

  #write(bytes: Uint8Array, at: number): void {
    if (!this.#file) return this.#writeToMemory(bytes, at)
    this.#windowStart = this.#windowEnd = 0
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file.handle.fd, bytes, done, bytes.length - done, at + done)
    } catch (error) {
      asHubError(error)
    }
  }

  #fill(from: number, to: number): void {
    const sequential = from >= this.#windowStart && from <= this.#windowEnd
    const wanted = Math.max(to - from, sequential ? sequentialBytes : randomBytes)
    const end = Math.min(this.#length, from + wanted)
    if (this.#window.length < end - from) this.#window = Buffer.allocUnsafeSlow(end - from)
    let at = from
    while (at < end) {
      const read = readSync(this.#file!.handle.fd, this.#window, at - from, end - at, at)
      if (read === 0) throw new HubError('corrupt', `the spool file ends at ${at} of ${this.#length} bytes`)
      at += read
    }
    this.#windowStart = from
    this.#windowEnd = end
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten
  } catch (error) {
    asHubError(error)
  }
}

function asHubError(cause: unknown): never {
  throw whenDiskFull(cause, 'the hub has no room left for pushes')
}
