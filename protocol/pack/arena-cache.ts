import { packOf, type Entry } from '../ports.js'
import type { KeptObjects } from './object-cache.js'

const firstArenaBytes = 64 * 1024
const firstSlots = 256
const noObject = -1

/**
 * Objects used lately, for who is done with one when he asks for the next: they lie in two stretches of memory that are used again and again, so that
 * a walk over any number of objects leaves nothing to be collected. Two generations: when the young fill theirs, the old ones go and the young
 * are the old.
 */
export class ArenaCache implements KeptObjects {
  readonly #maxBytes: number
  #young: Generation
  #old: Generation

  /** `maxBytes`: of both; they begin small. */
  constructor(maxBytes: number) {
    this.#maxBytes = Math.floor(maxBytes / 2)
    this.#young = new Generation(Math.min(this.#maxBytes, firstArenaBytes))
    this.#old = new Generation(0)
  }

  /** Valid until `room` was called twice. */
  get(entry: Entry): Uint8Array | undefined {
    const young = this.#young.get(entry)
    if (young) return young
    const old = this.#old.get(entry)
    if (!old) return undefined
    // Those that go may lie where it is copied to: it comes before them, or where it is.
    const kept = this.room(old.length)
    kept.set(old)
    this.keep(entry, kept)
    return kept
  }

  has(entry: Entry): boolean {
    return this.#young.has(entry) || this.#old.has(entry)
  }

  put(entry: Entry, data: Uint8Array): Uint8Array {
    // It may lie where the next is inflated to.
    if (!this.#fits(data.length)) return Uint8Array.from(data)
    const kept = this.room(data.length)
    kept.set(data)
    this.keep(entry, kept)
    return kept
  }

  room(bytes: number): Buffer {
    if (!this.#fits(bytes)) return Buffer.allocUnsafe(bytes)
    if (!this.#young.hasRoom(bytes, this.#maxBytes)) {
      const young = this.#old
      this.#old = this.#young
      this.#young = young
      young.clear()
      young.hasRoom(bytes, this.#maxBytes)
    }
    return this.#young.room(bytes)
  }

  keep(entry: Entry, room: Uint8Array): void {
    if (this.#fits(room.length)) this.#young.keep(entry, room.length)
  }

  /** Two of them always have room in one generation: what is made never lies where its base does. */
  #fits(bytes: number): boolean {
    return bytes <= this.#maxBytes / 2
  }
}

/** Objects one behind the other, and where each begins, in an open-addressing table that is never more than half full. */
class Generation {
  #arena: Buffer
  #filled = 0
  /** The last room begins here. */
  #lastFrom = 0
  #count = 0
  #keys = new Float64Array(firstSlots).fill(noObject)
  #froms = new Uint32Array(firstSlots)
  #lengths = new Uint32Array(firstSlots)

  constructor(bytes: number) {
    this.#arena = Buffer.allocUnsafeSlow(bytes)
  }

  clear(): void {
    this.#filled = 0
    this.#count = 0
    this.#keys.fill(noObject)
  }

  /** Grows to `maxBytes` at most. What was handed out stays as it is. */
  hasRoom(bytes: number, maxBytes: number): boolean {
    const need = this.#filled + bytes
    if (need <= this.#arena.length) return true
    if (need > maxBytes) return false
    const larger = Buffer.allocUnsafeSlow(Math.min(maxBytes, Math.max(need, 4 * this.#arena.length, firstArenaBytes)))
    larger.set(this.#arena.subarray(0, this.#filled))
    this.#arena = larger
    return true
  }

  room(bytes: number): Buffer {
    this.#lastFrom = this.#filled
    this.#filled += bytes
    return this.#arena.subarray(this.#lastFrom, this.#filled)
  }

  /** What was written into the last room. */
  keep(entry: Entry, length: number): void {
    if (2 * (this.#count + 1) > this.#keys.length) this.#grow()
    this.#count += 1
    this.#set(entry, this.#lastFrom, length)
  }

  has(entry: Entry): boolean {
    return this.#keys[this.#slotOf(entry)] === entry
  }

  get(entry: Entry): Buffer | undefined {
    const slot = this.#slotOf(entry)
    if (this.#keys[slot] !== entry) return undefined
    const from = this.#froms[slot]!
    return this.#arena.subarray(from, from + this.#lengths[slot]!)
  }

  #set(entry: Entry, from: number, length: number): void {
    const slot = this.#slotOf(entry)
    this.#keys[slot] = entry
    this.#froms[slot] = from
    this.#lengths[slot] = length
  }

  /** Where it is, or would be. */
  #slotOf(entry: Entry): number {
    const keys = this.#keys
    const mask = keys.length - 1
    let slot = (Math.imul((entry >>> 0) + packOf(entry) * 7919, 0x9e3779b1) >>> 8) & mask
    while (keys[slot] !== entry && keys[slot] !== noObject) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const [keys, froms, lengths] = [this.#keys, this.#froms, this.#lengths]
    const slots = 4 * keys.length
    this.#keys = new Float64Array(slots).fill(noObject)
    this.#froms = new Uint32Array(slots)
    this.#lengths = new Uint32Array(slots)
    for (let slot = 0; slot < keys.length; slot++) if (keys[slot] !== noObject) this.#set(keys[slot]!, froms[slot]!, lengths[slot]!)
  }
}
