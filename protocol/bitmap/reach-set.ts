import { EntryList } from '../entry-list.js'
import { EntryMarks } from '../entry-marks.js'
import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import type { Entry, PackView } from '../ports.js'
import type { BitOrder } from './bit-order.js'
import { BitSet } from './bit-set.js'

/** Objects of a view: bits for those that have one, and a list of the others. */
export class ReachSet {
  readonly bits: BitSet
  /** Objects without a bit. */
  readonly extra = new EntryList()
  readonly #view: PackView
  readonly #order: BitOrder
  readonly #marks: EntryMarks
  readonly #without: ReachSet | undefined
  readonly #oid = new Uint8Array(20)

  /** An empty set, which takes nothing that is in `without`. */
  constructor(view: PackView, order: BitOrder, without?: ReachSet) {
    this.#view = view
    this.#order = order
    this.#marks = new EntryMarks(view)
    this.#without = without
    this.bits = new BitSet(order.count)
  }

  /** How many. */
  size(): number {
    return this.bits.size() + this.extra.length
  }

  /** Each object once: first those with bits, in their order. */
  each(visit: (entry: Entry) => void): void {
    this.bits.each((bit) => visit(this.#order.entryOfBit(bit)))
    for (const entry of this.extra.view()) visit(entry)
  }

  /** True when it is in the set, or in what the set does not take. */
  covers(entry: Entry): boolean {
    const bit = this.#bitOf(entry)
    return bit === -1 ? this.#hasExtra(entry) : this.#hasBit(bit)
  }

  /** False: it was covered before. */
  addEntry(entry: Entry): boolean {
    const bit = this.#bitOf(entry)
    return bit === -1 ? this.#addExtra(entry) : this.addBit(bit)
  }

  /** False: it was covered before. */
  addBit(bit: number): boolean {
    if (this.#hasBit(bit)) return false
    this.bits.set(bit)
    return true
  }

  /**
   * The object whose oid begins at `at`, if it was not covered before; else -1.
   * @throws ProtocolError `corrupt` when there is none
   */
  addOid(bytes: Uint8Array, at: number): Entry {
    const bit = this.#order.findBit(bytes, at)
    if (bit !== -1) return this.addBit(bit) ? this.#order.entryOfBit(bit) : -1
    for (let i = 0; i < 20; i++) this.#oid[i] = bytes[at + i]!
    const entry = this.#view.find(this.#oid, 'read')
    if (entry === -1) throw new ProtocolError('corrupt', `object ${oidFromBytes(bytes, at)} is missing`)
    return this.#addExtra(entry) ? entry : -1
  }

  #bitOf(entry: Entry): number {
    this.#view.oidOf(entry, this.#oid)
    return this.#order.findBit(this.#oid)
  }

  #addExtra(entry: Entry): boolean {
    if (this.#hasExtra(entry)) return false
    this.#marks.add(entry, 1)
    this.extra.push(entry)
    return true
  }

  #hasBit(bit: number): boolean {
    return this.bits.has(bit) || (this.#without?.bits.has(bit) ?? false)
  }

  #hasExtra(entry: Entry): boolean {
    return this.#marks.get(entry) !== 0 || (this.#without !== undefined && this.#without.#marks.get(entry) !== 0)
  }
}
