const firstBytes = 64 * 1024

/**
 * Deltas that were inflated in the first pass, kept for the second as far as a budget goes: most are a few dozen bytes, and inflating such a
 * one costs far more than holding it.
 */
export class HeldDeltas {
  readonly #budgetBytes: number
  readonly #starts: Uint32Array
  readonly #lengths: Uint32Array
  #bytes: Buffer = Buffer.alloc(0)
  #filled = 0

  /** For packs of `count` objects; `budgetBytes` below 4 GiB. */
  constructor(count: number, budgetBytes: number) {
    this.#budgetBytes = Math.min(budgetBytes, 2 ** 31)
    this.#starts = new Uint32Array(count)
    this.#lengths = new Uint32Array(count)
  }

  /** Copies the delta, if there is room. */
  hold(rank: number, delta: Uint8Array): void {
    const end = this.#filled + delta.length
    if (end > this.#budgetBytes) return
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.#budgetBytes, Math.max(end, this.#bytes.length * 2, firstBytes)))
      larger.set(this.#bytes.subarray(0, this.#filled))
      this.#bytes = larger
    }
    this.#bytes.set(delta, this.#filled)
    this.#starts[rank] = this.#filled
    this.#lengths[rank] = delta.length
    this.#filled = end
  }

  /** Undefined: not held. */
  find(rank: number): Buffer | undefined {
    const length = this.#lengths[rank]
    return length ? this.#bytes.subarray(this.#starts[rank]!, this.#starts[rank]! + length) : undefined
  }
}
