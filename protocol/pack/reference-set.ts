import { randomFillSync } from 'node:crypto'
import { ProtocolError } from '../errors.js'

const recordBytes = 24
const maskAt = 20
const fromAt = 21
/** Nobody in particular. It leaves room for ranks of far more objects than a pack may have. */
export const fromNowhere = 0xffffff
const firstCapacity = 64

/**
 * A set of oids, each with a mask, the and of all masks it was added with, and with the rank of who named it first. Numbered from 0 in the
 * order of their first addition.
 *
 * A big push refers to its objects many millions of times, so this is open addressing over typed arrays: a slot is a number + 1
 * (0: empty) and the hash, a record 20 bytes of oid, one of mask and three of rank. What a tree names need not exist, so a stranger picks the bytes
 * freely; the hash is therefore keyed by random tables (tabulation over all 20 bytes), and no choice of names makes long probes.
 */
export class ReferenceSet {
  readonly #limit: number
  readonly #tables = randomFillSync(new Int32Array(20 * 256))
  #slots = new Int32Array(firstCapacity * 4)
  #records = new Uint8Array(firstCapacity * recordBytes)
  #capacity = firstCapacity
  #count = 0

  /** Holds up to `limit` oids. */
  constructor(limit: number) {
    this.#limit = limit
  }

  get count(): number {
    return this.#count
  }

  /**
   * Number of the oid at `offset` of `bytes`, new or known; its mask loses what `mask` does not have. `from`: the rank of who names it.
   * @throws ProtocolError `too-large` over the limit
   */
  add(bytes: Uint8Array, offset: number, mask: number, from = fromNowhere): number {
    const hash = this.#hash(bytes, offset)
    const slots = this.#slots
    const records = this.#records
    const last = slots.length - 2
    let slot = (hash << 1) & last
    for (let held = slots[slot]!; held !== 0; held = slots[slot]!) {
      if (slots[slot + 1] === hash) {
        const at = (held - 1) * recordBytes
        if (sameOid(records, at, bytes, offset)) {
          records[at + maskAt]! &= mask
          return held - 1
        }
      }
      slot = (slot + 2) & last
    }
    return this.#append(bytes, offset, mask, from, hash)
  }

  /** Number of the oid, or -1. */
  find(bytes: Uint8Array, offset: number): number {
    const hash = this.#hash(bytes, offset)
    const last = this.#slots.length - 2
    for (let slot = (hash << 1) & last; ; slot = (slot + 2) & last) {
      const held = this.#slots[slot]!
      if (held === 0) return -1
      if (this.#slots[slot + 1] === hash && sameOid(this.#records, (held - 1) * recordBytes, bytes, offset)) return held - 1
    }
  }

  /** All there is, 24 bytes each: oid, mask, rank. Valid until the next `add`. */
  records(): Uint8Array {
    return this.#records.subarray(0, this.#count * recordBytes)
  }

  /** Adds what another set holds. @throws ProtocolError `too-large` over the limit */
  addRecords(records: Uint8Array): void {
    for (let at = 0; at < records.length; at += recordBytes) this.add(records, at, records[at + maskAt]!, fromIn(records, at))
  }

  maskOf(number: number): number {
    return this.#records[number * recordBytes + maskAt]!
  }

  /** Rank of who named it first, or `fromNowhere`. */
  fromOf(number: number): number {
    return fromIn(this.#records, number * recordBytes)
  }

  /** The oid's 20 bytes; valid until the next `add`. */
  oidOf(number: number): Uint8Array {
    return this.#records.subarray(number * recordBytes, number * recordBytes + 20)
  }

  #hash(bytes: Uint8Array, offset: number): number {
    const tables = this.#tables
    let hash = 0
    for (let i = 0; i < 20; i++) hash ^= tables[(i << 8) | bytes[offset + i]!]!
    return hash
  }

  #append(bytes: Uint8Array, offset: number, mask: number, from: number, hash: number): number {
    const number = this.#count
    if (number >= this.#limit) throw new ProtocolError('too-large', `the pack refers to more than ${this.#limit} different objects`)
    if (number === this.#capacity) this.#grow()
    const at = number * recordBytes
    for (let i = 0; i < 20; i++) this.#records[at + i] = bytes[offset + i]!
    this.#records[at + maskAt] = mask
    this.#records[at + fromAt] = from
    this.#records[at + fromAt + 1] = from >>> 8
    this.#records[at + fromAt + 2] = from >>> 16
    place(this.#slots, number + 1, hash)
    this.#count = number + 1
    return number
  }

  /** Twice as much room; half the slots stay empty. */
  #grow(): void {
    this.#capacity *= 2
    const records = new Uint8Array(this.#capacity * recordBytes)
    records.set(this.#records)
    this.#records = records
    const old = this.#slots
    this.#slots = new Int32Array(this.#capacity * 4)
    for (let slot = 0; slot < old.length; slot += 2) if (old[slot] !== 0) place(this.#slots, old[slot]!, old[slot + 1]!)
  }
}

const fromIn = (records: Uint8Array, at: number): number =>
  records[at + fromAt]! | (records[at + fromAt + 1]! << 8) | (records[at + fromAt + 2]! << 16)

function place(slots: Int32Array, held: number, hash: number): void {
  const last = slots.length - 2
  let slot = (hash << 1) & last
  while (slots[slot] !== 0) slot = (slot + 2) & last
  slots[slot] = held
  slots[slot + 1] = hash
}

function sameOid(records: Uint8Array, at: number, bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 20; i++) if (records[at + i] !== bytes[offset + i]) return false
  return true
}
