import { createHash } from 'node:crypto'
import type { ByteSource } from './pack-index.js'

const windowBytes = 1024 * 1024

/** A window that moves forward over a pack up to `end`, and hashes what it passes, each byte once. */
export class ForwardWindow {
  readonly end: number
  /** What is in the window: bytes `from` to `to` of the pack. */
  bytes: Uint8Array = new Uint8Array(0)
  from = 0
  to = 0
  readonly #source: ByteSource
  readonly #hash = createHash('sha1')

  constructor(source: ByteSource, end: number) {
    this.#source = source
    this.end = end
  }

  /**
   * Moves the window to begin at `at` unless it already holds `need` bytes from there, or all there are up to `end`.
   * `at` is never before the window or behind it.
   */
  hold(at: number, need: number): void {
    if (this.to === this.end || at + need <= this.to) return
    const seen = this.to
    this.from = at
    this.to = Math.min(this.end, at + Math.max(need, windowBytes))
    this.bytes = this.#source.read(this.from, this.to)
    this.#hash.update(this.bytes.subarray(seen - at))
  }

  /** SHA-1 of everything before `end`. Call once, when the window has come there. */
  sha1(): Buffer {
    return this.#hash.digest()
  }
}
