import { entryAt, type DirectView, type PackView } from '../ports.js'

/** Most that is asked for at once. */
export const windowBytes = 256 * 1024
/** Most that is read ahead. */
const aheadBytes = 1024 * 1024
const firstBytes = 16 * 1024
const directBytes = 128 * 1024

/**
 * A stretch of a pack, held while its reader goes through it. Read ahead grows while the stretches follow one another, so that
 * walking a pack costs few reads, and one object out of a pack costs one small read.
 */
export class ReadWindow {
  readonly #view: PackView
  #bytes: Uint8Array = new Uint8Array(0)
  #buffer: Uint8Array = new Uint8Array(0)
  #pack = -1
  #from = 0
  #to = 0
  #ahead = firstBytes

  constructor(view: PackView) {
    this.#view = view
  }

  /** From byte `from` of the pack on. Valid until `load`. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  get from(): number {
    return this.#from
  }

  has(pack: number, from: number, to: number): boolean {
    return pack === this.#pack && from >= this.#from && to <= this.#to
  }

  /** Holds at least `from` to `to`, which are `windowBytes` apart at most. */
  async load(pack: number, from: number, to: number): Promise<void> {
    const isNear = pack === this.#pack && from >= this.#from - windowBytes && from <= this.#to + windowBytes
    this.#ahead = isNear ? Math.min(2 * this.#ahead, aheadBytes) : firstBytes
    const packEnd = this.#view.endOf(entryAt(pack, this.#view.objectsIn(pack) - 1))
    const end = Math.min(Math.max(to, from + this.#ahead), packEnd)
    this.#pack = -1
    this.#bytes = await this.#read(pack, from, end)
    this.#pack = pack
    this.#from = from
    this.#to = from + this.#bytes.length
  }

  async #read(pack: number, from: number, to: number): Promise<Uint8Array> {
    if (this.#buffer.length < to - from) this.#buffer = new Uint8Array(Math.max(to - from, this.#ahead))
    const bytes = this.#buffer.subarray(0, to - from)
    // Little is read where something else may be wanted soon that lies near: that is worth keeping elsewhere.
    const view = this.#view as PackView & Partial<DirectView>
    if (view.readInto && to - from >= directBytes) {
      await view.readInto(pack, from, bytes)
      return bytes
    }
    const read = await this.#view.read(pack, from, to)
    // The view's bytes last until its next read, which may be for a delta base elsewhere.
    bytes.set(read)
    return bytes.subarray(0, read.length)
  }
}
