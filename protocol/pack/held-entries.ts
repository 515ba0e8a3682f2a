const firstBytes = 64 * 1024
/** A larger entry costs more to hold than to inflate again. */
const maxEntryBytes = 32 * 1024

/** Cloneable: shared memory. */
export interface HeldState {
  readonly starts: Uint32Array
  readonly lengths: Uint32Array
  readonly bytes: Uint8Array
}

/**
 * What entries inflated to in the first pass, kept for the second as far as a budget goes: most objects and deltas are small, and inflating
 * a small one costs far more than holding it. In shared memory, so that several threads can go on from it.
 */
export class HeldEntries {
  readonly #budgetBytes: number
  readonly #starts: Uint32Array
  readonly #lengths: Uint32Array
  #bytes: Uint8Array
  #filled = 0

  /** For packs of `count` objects. `shared`: all of the budget is set aside at once, so that what is held later is in `state` as well. */
  constructor(count: number, budgetBytes: number, { state, shared = false }: { readonly state?: HeldState; readonly shared?: boolean } = {}) {
    this.#budgetBytes = Math.min(budgetBytes, 2 ** 31)
    this.#starts = state?.starts ?? new Uint32Array(new SharedArrayBuffer(count * 4))
    this.#lengths = state?.lengths ?? new Uint32Array(new SharedArrayBuffer(count * 4))
    this.#bytes = state?.bytes ?? new Uint8Array(new SharedArrayBuffer(shared ? this.#budgetBytes : 0))
  }

  /** For another thread. What is held later is in it only if the budget was set aside. */
  state(): HeldState {
    return { starts: this.#starts, lengths: this.#lengths, bytes: this.#bytes }
  }

  /** Copies what the entry inflated to, if there is room. */
  hold(rank: number, data: Uint8Array): void {
    const end = this.#filled + data.length
    if (data.length > maxEntryBytes || end > this.#budgetBytes) return
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(new SharedArrayBuffer(Math.min(this.#budgetBytes, Math.max(end, this.#bytes.length * 2, firstBytes))))
      larger.set(this.#bytes.subarray(0, this.#filled))
      this.#bytes = larger
    }
    this.#bytes.set(data, this.#filled)
    this.#starts[rank] = this.#filled
    this.#lengths[rank] = data.length
    this.#filled = end
  }

  /** Undefined: not held. Shared: not to be written to. */
  find(rank: number): Buffer | undefined {
    const length = this.#lengths[rank]
    return length ? Buffer.from(this.#bytes.buffer, this.#starts[rank], length) : undefined
  }
}
