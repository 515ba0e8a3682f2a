import { createHash } from 'node:crypto'
import { encodePackHeader } from './entry.js'

const bufferBytes = 256 * 1024

/** A pack stream in the making: counts and hashes what goes by, in one buffer that is handed out when it is full. */
export class PackOutput {
  readonly #hash = createHash('sha1')
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes)
  #filled = 0
  #handed = 0

  constructor(count: number) {
    this.write(encodePackHeader(count))
  }

  /** Where the next byte will stand in the pack. */
  get position(): number {
    return this.#handed + this.#filled
  }

  /** True when this many bytes can be written without `take`. */
  hasRoom(bytes: number): boolean {
    return this.#filled + bytes <= bufferBytes
  }

  /** There must be room. */
  write(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#filled)
    this.#filled += bytes.length
  }

  /** As much of the bytes as there is room for; how many. */
  writeSome(bytes: Uint8Array, from: number): number {
    const part = bytes.subarray(from, from + bufferBytes - this.#filled)
    this.write(part)
    return part.length
  }

  /** What is in the buffer, hashed; valid until the next `write`. */
  take(): Uint8Array {
    const full = this.#buffer.subarray(0, this.#filled)
    this.#hash.update(full)
    this.#handed += full.length
    this.#filled = 0
    return full
  }

  /** The trailer. After the last `take`. */
  trailer(): Buffer {
    return this.#hash.digest()
  }
}
