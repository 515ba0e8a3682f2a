const firstSlots = 1024
const maxSlots = 256 * 1024

/**
 * Remembers oids seen lately. May forget one, never makes one up. Trees repeat most of what other trees say: asked first, it spares
 * most of the lookups of a walk.
 */
export class RecentOids {
  #slots = firstSlots
  #oids = new Uint8Array(firstSlots * 20)
  #misses = 0

  /** True when the oid at `at` has been noted before. */
  note(bytes: Uint8Array, at: number): boolean {
    const oids = this.#oids
    const slot = ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)) & (this.#slots - 1)) * 20
    let i = 19
    while (i >= 0 && oids[slot + i] === bytes[at + i]) i--
    if (i < 0) return true
    for (let k = 19; k >= 0; k--) oids[slot + k] = bytes[at + k]!
    if (++this.#misses > 2 * this.#slots) this.#grow()
    return false
  }

  #grow(): void {
    this.#misses = 0
    if (this.#slots === maxSlots) return
    this.#slots *= 4
    this.#oids = new Uint8Array(this.#slots * 20)
  }
}
