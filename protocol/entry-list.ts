import type { Entry } from './ports.js'

/** Entries in a row, eight bytes each. */
export class EntryList {
  #entries = new Float64Array(64)
  length = 0

  push(entry: Entry): void {
    if (this.length === this.#entries.length) {
      const larger = new Float64Array(this.length * 2)
      larger.set(this.#entries)
      this.#entries = larger
    }
    this.#entries[this.length++] = entry
  }

  /** Undefined when empty. */
  pop(): Entry | undefined {
    return this.length === 0 ? undefined : this.#entries[--this.length]
  }

  at(index: number): Entry {
    return this.#entries[index]!
  }

  /** What is there; valid until the next `push`. */
  view(): Float64Array {
    return this.#entries.subarray(0, this.length)
  }

  /** By pack, and in a pack by rank: the order in which they are read fastest. */
  sort(): void {
    this.view().sort()
  }
}
