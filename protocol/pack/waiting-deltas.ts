import { noEntry, type PackColumns } from './pack-columns.js'
import { ReferenceSet } from './reference-set.js'

/** The REF_DELTAs of a pack, until the base that each of them names is there. */
export class WaitingDeltas {
  /** Names of their bases. */
  readonly #bases: ReferenceSet
  /** By number of a base: its first delta until the base is there; the others are that one's siblings. */
  readonly #first: Int32Array

  constructor(bases = new ReferenceSet(0), first: Int32Array = new Int32Array(0)) {
    this.#bases = bases
    this.#first = first
  }

  /** The pack has none. */
  get isEmpty(): boolean {
    return this.#bases.count === 0
  }

  /** Gives an object that now has a name those that wait for it. */
  adopt(columns: PackColumns, rank: number): void {
    if (this.#bases.count === 0) return
    const number = this.#bases.find(columns.oids, rank * 20)
    if (number === -1) return
    let child = this.#first[number]!
    this.#first[number] = noEntry
    while (child !== noEntry) {
      const next = columns.nextChild[child]!
      columns.bases[child] = rank
      columns.adopt(child, rank)
      child = next
    }
  }

  isMissing(oid: Uint8Array): boolean {
    const number = this.#bases.find(oid, 0)
    return number !== -1 && this.#first[number] !== noEntry
  }

  /** Names of the bases that have not come, in the order their first deltas stand in the pack. Copies. */
  missing(): Buffer[] {
    const missing: Buffer[] = []
    for (let number = 0; number < this.#bases.count; number++) {
      if (this.#first[number] !== noEntry) missing.push(Buffer.from(this.#bases.oidOf(number)))
    }
    return missing
  }

  /** The name by which a delta knows its base, of which its column `bases` has the number. Valid until the next look at the pack. */
  baseOf(columns: PackColumns, rank: number): Uint8Array {
    return this.#bases.oidOf(-2 - columns.bases[rank]!)
  }
}
