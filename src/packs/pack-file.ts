import { ProtocolError } from '../../protocol/errors.js'
import { FileSlot, type GrowingFile, type OpenFiles } from './file-slot.js'

/** Bytes of one pack, as stored. */
export interface PackBytes {
  readonly bytes: number
  /**
   * Bytes `from` (inclusive) to `to` (exclusive). They stay as they are as long as somebody holds them.
   * @throws ProtocolError `corrupt` when they are not there, the file gone included
   */
  read(from: number, to: number): Promise<Uint8Array>
}

/** The same into memory of the caller's. */
export interface DirectBytes {
  /** Fills `into` from byte `from` on, past what is kept for others. @throws as `read` */
  readInto(from: number, into: Uint8Array): Promise<void>
}

/** Bytes that can be held open: whoever keeps them counts himself in and out, the last one out closes. */
export interface HeldBytes extends PackBytes, DirectBytes {
  hold(): void
  drop(): void
  /** For a file that may be taken away while nobody needs it: who reads counts himself in, and out. */
  pin(): void
  /** Resolves when the caller keeps no file open any more: the last one out closes it until somebody reads again. */
  unpin(): Promise<void>
  /**
   * All of them, past the windows, from two buffers of their own: a chunk is valid until the next. Undefined: they are in no file here.
   * @throws as `read`
   */
  stream(): AsyncGenerator<Uint8Array> | undefined
}

/** Fetches a range from where there is no file. */
export type ReadRange = (from: number, to: number) => Promise<Uint8Array>

export interface PackSource {
  /** File, or how to read ranges from elsewhere. */
  readonly from: string | ReadRange
  readonly bytes: number
  /** For complaints: which pack this is. */
  readonly name: string
  /** Runs once, after the last holder has left. */
  readonly onClosed?: () => void
}

export interface PackFilesOptions {
  /** Windows of all files together, bytes. */
  readonly cacheBytes?: number
  /** Files kept open. */
  readonly maxOpen?: number
}

/** Large enough that walking 100,000 small objects is a thousand reads, small enough that a single object costs little. */
const windowBytes = 256 * 1024
/** Reads over this go past the windows. */
const directBytes = 4 * windowBytes
/** Of a pack that is read from its first byte to its last. */
const streamBytes = 256 * 1024

interface Window {
  readonly owner: PackFile
  readonly index: number
  data: Uint8Array | undefined
  loading: Promise<Uint8Array>
}

/** The files packs are read from: a few hundred open, and the windows read last. */
export class PackFiles implements OpenFiles {
  readonly #cacheBytes: number
  readonly #maxOpen: number
  /** Least recently used first. */
  readonly #windows = new Set<Window>()
  readonly #open = new Set<FileSlot>()
  #windowBytes = 0

  constructor({ cacheBytes = 64 * 1024 * 1024, maxOpen = 256 }: PackFilesOptions = {}) {
    this.#cacheBytes = cacheBytes
    this.#maxOpen = maxOpen
  }

  /** Nothing is opened before the first read. The caller holds it from the start. */
  open(source: PackSource): HeldBytes {
    return new PackFile(this, source)
  }

  /** Ranges of a file that may still grow, without windows. The caller closes it. */
  openGrowing(path: string): GrowingFile {
    return new FileSlot(this, path)
  }

  touchWindow(window: Window): void {
    this.#windows.delete(window)
    this.#windows.add(window)
  }

  addWindow(window: Window, bytes: number): void {
    this.#windows.add(window)
    this.#windowBytes += bytes
    for (const oldest of this.#windows) {
      if (this.#windowBytes <= this.#cacheBytes || oldest === window) break
      oldest.owner.forget(oldest)
    }
  }

  removeWindow(window: Window, bytes: number): void {
    if (this.#windows.delete(window)) this.#windowBytes -= bytes
  }

  touchFile(file: FileSlot): void {
    this.#open.delete(file)
    this.#open.add(file)
    for (const oldest of this.#open) {
      if (this.#open.size <= this.#maxOpen) break
      if (oldest.busy === 0) oldest.rest()
    }
  }

  removeFile(file: FileSlot): void {
    this.#open.delete(file)
  }
}

class PackFile implements HeldBytes {
  readonly bytes: number
  readonly #files: PackFiles
  readonly #name: string
  readonly #slot: FileSlot | undefined
  readonly #readRange: ReadRange
  readonly #windows = new Map<number, Window>()
  readonly #onClosed: (() => void) | undefined
  #lastIndex = -2
  #holders = 1
  #pins = 0

  constructor(files: PackFiles, { from, bytes, name, onClosed }: PackSource) {
    this.#files = files
    this.#name = name
    this.bytes = bytes
    this.#onClosed = onClosed
    const slot = typeof from === 'string' ? new FileSlot(files, from) : undefined
    this.#slot = slot
    this.#readRange = typeof from === 'string' ? (start, end) => slot!.read(start, end) : from
  }

  hold(): void {
    this.#holders++
  }

  drop(): void {
    if (--this.#holders > 0) return
    for (const window of [...this.#windows.values()]) this.forget(window)
    void this.#slot?.close()
    this.#onClosed?.()
  }

  pin(): void {
    if (this.#pins++ === 0) this.#slot?.reopen()
  }

  async unpin(): Promise<void> {
    if (--this.#pins === 0) await this.#slot?.close()
  }

  stream(): AsyncGenerator<Uint8Array> | undefined {
    return this.#slot && this.#stream(this.#slot)
  }

  async *#stream(slot: FileSlot): AsyncGenerator<Uint8Array> {
    const size = Math.min(streamBytes, this.bytes)
    const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(this.bytes > size ? size : 0)]
    const readNext = (at: number): Promise<Uint8Array> | undefined => {
      if (at >= this.bytes) return undefined
      const chunk = buffers[(at / streamBytes) % 2]!.subarray(0, this.bytes - at)
      const next = this.#told(slot.readInto(at, chunk).then(() => chunk))
      next.catch(() => undefined) // heard when the chunk is wanted
      return next
    }
    for (let at = 0, reading = readNext(0); reading; at += streamBytes) {
      const chunk = await reading
      reading = readNext(at + streamBytes)
      yield chunk
    }
  }

  read(from: number, to: number): Promise<Uint8Array> {
    if (!(from >= 0 && from <= to && to <= this.bytes)) {
      return Promise.reject(new ProtocolError('corrupt', `bytes ${from} to ${to} lie outside ${this.#name} of ${this.bytes} bytes`))
    }
    const index = Math.floor(from / windowBytes)
    const start = index * windowBytes
    if (to <= start + windowBytes) {
      const window = this.#windows.get(index)
      if (!window?.data) return this.#readWithin(index, from - start, to - start)
      if (index !== this.#lastIndex) this.#moveTo(index, window)
      return Promise.resolve(window.data.subarray(from - start, to - start))
    }
    return to - from >= directBytes ? this.#load(from, to) : this.#readAcross(from, to)
  }

  async readInto(from: number, into: Uint8Array): Promise<void> {
    const to = from + into.length
    if (this.#slot && from >= 0 && to <= this.bytes) await this.#told(this.#slot.readInto(from, into))
    else into.set(await this.read(from, to))
  }

  forget(window: Window): void {
    this.#windows.delete(window.index)
    this.#files.removeWindow(window, this.#sizeOf(window.index))
  }

  async #readWithin(index: number, from: number, to: number): Promise<Uint8Array> {
    const window = this.#window(index)
    this.#moveTo(index, window)
    return (await window.loading).subarray(from, to)
  }

  async #readAcross(from: number, to: number): Promise<Uint8Array> {
    const joined = Buffer.allocUnsafe(to - from)
    for (let at = from; at < to; ) {
      const index = Math.floor(at / windowBytes)
      const end = Math.min(to, (index + 1) * windowBytes)
      joined.set(await this.#readWithin(index, at - index * windowBytes, end - index * windowBytes), at - from)
      at = end
    }
    return joined
  }

  /** Who goes from one window to the next will want the one after it: it is fetched meanwhile. */
  #moveTo(index: number, window: Window): void {
    const sequential = index === this.#lastIndex + 1
    this.#lastIndex = index
    this.#files.touchWindow(window)
    if (sequential && (index + 1) * windowBytes < this.bytes) this.#window(index + 1)
  }

  #window(index: number): Window {
    const known = this.#windows.get(index)
    if (known) return known
    const start = index * windowBytes
    const window: Window = { owner: this, index, data: undefined, loading: this.#load(start, start + this.#sizeOf(index)) }
    this.#windows.set(index, window)
    this.#files.addWindow(window, this.#sizeOf(index))
    window.loading.then(
      (data) => {
        window.data = data
      },
      () => {
        if (this.#windows.get(index) === window) this.forget(window)
      },
    )
    return window
  }

  #sizeOf(index: number): number {
    return Math.min(windowBytes, this.bytes - index * windowBytes)
  }

  #load(from: number, to: number): Promise<Uint8Array> {
    return this.#told(this.#readRange(from, to))
  }

  /** What cannot be read is missing from this pack. */
  async #told<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (cause) {
      throw new ProtocolError('corrupt', `${this.#name} does not read back`, { cause })
    }
  }
}
