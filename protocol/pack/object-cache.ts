import type { Entry } from '../ports.js'

/** What an object costs beside its bytes. */
const overheadBytes = 128

/** Objects used lately, up to a number of bytes. What is handed out is shared: nobody writes to it. */
export class ObjectCache {
  readonly #maxBytes: number
  readonly #objects = new Map<Entry, Uint8Array>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get(entry: Entry): Uint8Array | undefined {
    const data = this.#objects.get(entry)
    if (!data) return undefined
    // A Map keeps the order of insertion: the longest unused comes first.
    this.#objects.delete(entry)
    this.#objects.set(entry, data)
    return data
  }

  has(entry: Entry): boolean {
    return this.#objects.has(entry)
  }

  /** Keeps an object that is not here yet, unless it would fill half of the cache by itself. */
  put(entry: Entry, data: Uint8Array): void {
    const cost = data.length + overheadBytes
    if (cost > this.#maxBytes / 2) return
    this.#objects.set(entry, data)
    this.#bytes += cost
    if (this.#bytes <= this.#maxBytes) return
    for (const [oldest, { length }] of this.#objects) {
      this.#objects.delete(oldest)
      this.#bytes -= length + overheadBytes
      if (this.#bytes <= this.#maxBytes) return
    }
  }
}
