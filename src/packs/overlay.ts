/**
 * One hash table over the objects of all inline packs of a repository, so that thousands of small pushes never mean
 * thousands of searches. Open addressing in shared memory, 16 bytes a slot, one slot for each (oid, pack):
 *
 *     word 0, 1   first 8 bytes of the oid, little-endian
 *     word 2      row of the object in its pack's table
 *     word 3      inline number + 1; 0: the slot is free
 *
 * Only ever appended to: word 3 is stored last, and a reader passes over numbers above the highest it knows. Growing makes a
 * new buffer, so a frozen snapshot keeps the one it has.
 */
export class Overlay {
  readonly seed: number
  #slots: Int32Array
  #used = 0

  constructor() {
    // Oids can be chosen, to a degree: without knowing the seed nobody makes them meet in one place.
    this.seed = Math.floor(Math.random() * 2 ** 32) | 0
    this.#slots = emptySlots(minimumSlots)
  }

  /** The buffer as it is now; keep it together with the highest number that may be seen in it. */
  get slots(): Int32Array {
    return this.#slots
  }

  get bytes(): number {
    return this.#slots.byteLength
  }

  /** Makes room for `count` more objects, at most half full. Slots of numbers that are not alive are left behind. */
  reserve(count: number, isAlive: (number: number) => boolean): void {
    if ((this.#used + count) * 2 <= this.#slots.length / slotWords) return
    const old = this.#slots
    let alive = 0
    for (let at = 3; at < old.length; at += slotWords) if (old[at]! > 0 && isAlive(old[at]! - 1)) alive++
    // At most a third full after growing, so that the next time is some way off.
    let slots = minimumSlots
    while (slots < (alive + count) * 3) slots *= 2
    this.#slots = emptySlots(slots)
    this.#used = 0
    for (let at = 0; at < old.length; at += slotWords) {
      const number = old[at + 3]! - 1
      if (number >= 0 && isAlive(number)) this.#insert(old[at]!, old[at + 1]!, old[at + 2]!, number)
    }
  }

  /** Adds the object whose oid starts at `at`. Room must have been reserved. */
  insert(oids: Uint8Array, at: number, row: number, number: number): void {
    this.#insert(wordAt(oids, at), wordAt(oids, at + 4), row, number)
  }

  #insert(word0: number, word1: number, row: number, number: number): void {
    const slots = this.#slots
    let at = homeOf(word0, this.seed, slots)
    while (slots[at + 3] !== 0) at = after(at, slots)
    slots[at] = word0
    slots[at + 1] = word1
    slots[at + 2] = row
    Atomics.store(slots, at + 3, number + 1)
    this.#used++
  }
}

/** First slot whose 8 bytes are those of `oid`, or -1. The caller compares the rest, and goes on with `nextSlot`. */
export function firstSlot(slots: Int32Array, seed: number, oid: Uint8Array): number {
  const word0 = wordAt(oid, 0)
  return matchFrom(slots, homeOf(word0, seed, slots), word0, wordAt(oid, 4))
}

/** The next slot after `slot` with the same 8 bytes, or -1. */
export const nextSlot = (slots: Int32Array, slot: number): number => matchFrom(slots, after(slot, slots), slots[slot]!, slots[slot + 1]!)

export const rowOfSlot = (slots: Int32Array, slot: number): number => slots[slot + 2]!
export const numberOfSlot = (slots: Int32Array, slot: number): number => slots[slot + 3]! - 1

function matchFrom(slots: Int32Array, start: number, word0: number, word1: number): number {
  for (let at = start; Atomics.load(slots, at + 3) !== 0; at = after(at, slots)) {
    if (slots[at] === word0 && slots[at + 1] === word1) return at
  }
  return -1
}

const slotWords = 4
const minimumSlots = 256

const emptySlots = (count: number): Int32Array => new Int32Array(new SharedArrayBuffer(count * slotWords * 4))

const wordAt = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)

/** Slot counts are powers of two: the upper bits of the product choose the slot. */
const homeOf = (word0: number, seed: number, slots: Int32Array): number =>
  (Math.imul(word0 ^ seed, 0x9e3779b1) >>> (Math.clz32(slots.length / slotWords) + 1)) * slotWords

const after = (at: number, slots: Int32Array): number => (at + slotWords) & (slots.length - 1)
