import { createHash } from 'node:crypto'
import { trailerBytes } from './entry.js'
import type { ByteSource } from './pack-index.js'

const windowBytes = 1024 * 1024

/** A window that moves forward over a pack up to its trailer, and hashes what it passes, each byte once. The pack may still grow. */
export class ForwardWindow {
  /** What is in the window: bytes `from` to `to` of the pack. */
  bytes: Uint8Array = new Uint8Array(0)
  from = 0
  to = 0
  readonly #source: ByteSource
  readonly #hash = createHash('sha1')

  constructor(source: ByteSource) {
    this.#source = source
  }

  /** Where the trailer begins, or, of a pack that still grows, what is surely before it. */
  get end(): number {
    return Math.max(0, this.#source.length - trailerBytes)
  }

  /** Nothing more is to come. */
  get whole(): boolean {
    return this.#source.whole ?? true
  }

  /**
   * Moves the window to begin at `at` unless it already holds `need` bytes from there, or all there are now up to `end`.
   * `at` is never before the window or behind it.
   */
  hold(at: number, need: number): void {
    const { end } = this
    if (this.to === end || at + need <= this.to) return
    const seen = this.to
    this.from = at
    this.to = Math.min(end, at + Math.max(need, windowBytes))
    this.bytes = this.#source.read(this.from, this.to)
    this.#hash.update(this.bytes.subarray(seen - at))
  }

  /** SHA-1 of everything before `end`. Call once, when the window has come there. */
  sha1(): Buffer {
    return this.#hash.digest()
  }
}
