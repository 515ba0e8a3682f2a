import type { Entry } from '../ports.js'

/** What an object costs beside its bytes. */
const overheadBytes = 128

/** What a reader keeps of the objects it has read, as bases of deltas to come. What is handed out is not to be written to. */
export interface KeptObjects {
  get(entry: Entry): Uint8Array | undefined
  has(entry: Entry): boolean
  /** Keeps an object that is not there, unless it is large; the object as it lies there, or `data` itself. */
  put(entry: Entry, data: Uint8Array): Uint8Array
  /** Where an object of so many bytes may be made. To be followed by `keep` once it is there. */
  room(bytes: number): Buffer
  keep(entry: Entry, room: Uint8Array): void
}

/**
 * Objects used lately, up to a number of bytes. What is handed out is shared: nobody writes to it. Two generations, because a Map that
 * gives up its oldest one by one is slow: when the young fill their half, the old ones go and the young are the old.
 */
export class ObjectCache implements KeptObjects {
  readonly #halfBytes: number
  #young = new Map<Entry, Uint8Array>()
  #old = new Map<Entry, Uint8Array>()
  #youngBytes = 0

  constructor(maxBytes: number) {
    this.#halfBytes = maxBytes / 2
  }

  get(entry: Entry): Uint8Array | undefined {
    const young = this.#young.get(entry)
    if (young) return young
    const old = this.#old.get(entry)
    if (old) this.put(entry, old)
    return old
  }

  has(entry: Entry): boolean {
    return this.#young.has(entry) || this.#old.has(entry)
  }

  /** Unless it would fill half of the cache by itself. */
  put(entry: Entry, data: Uint8Array): Uint8Array {
    this.keep(entry, data)
    return data
  }

  room(bytes: number): Buffer {
    return Buffer.allocUnsafe(bytes)
  }

  keep(entry: Entry, data: Uint8Array): void {
    const cost = data.length + overheadBytes
    if (cost > this.#halfBytes) return
    if (this.#youngBytes + cost > this.#halfBytes) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngBytes = 0
    }
    this.#young.set(entry, data)
    this.#youngBytes += cost
  }
}
