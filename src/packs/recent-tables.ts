/**
 * Tables of packs that were stored a moment ago: the first snapshot after a push needs the very table that the push has made and checked.
 * Bytes in shared memory, by their SHA-256, oldest out first.
 */
export class RecentTables {
  readonly #maxBytes: number
  readonly #tables = new Map<string, Uint8Array>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  remember(sha256: Uint8Array, table: Uint8Array): void {
    const key = keyOf(sha256)
    if (table.length > this.#maxBytes || this.#tables.has(key)) return
    this.#tables.set(key, table)
    this.#bytes += table.length
    for (const [oldest, { length }] of this.#tables) {
      if (this.#bytes <= this.#maxBytes) return
      this.#tables.delete(oldest)
      this.#bytes -= length
    }
  }

  forget(): void {
    this.#tables.clear()
    this.#bytes = 0
  }

  find(sha256: Uint8Array): Uint8Array | undefined {
    return this.#tables.get(keyOf(sha256))
  }
}

const keyOf = (sha256: Uint8Array): string => Buffer.from(sha256.buffer, sha256.byteOffset, sha256.length).toString('hex')
