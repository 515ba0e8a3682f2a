import { packOf, type Entry, type PackView } from './ports.js'

/** Eight bits for every object of a view, all clear at first. A byte an object, in the packs that were touched. */
export class EntryMarks {
  readonly #view: PackView
  readonly #packs: (Uint8Array | undefined)[]

  constructor(view: PackView) {
    this.#view = view
    this.#packs = Array.from({ length: view.packCount }, () => undefined)
  }

  /** The bits of an entry. */
  get(entry: Entry): number {
    // The low 32 bits are the rank.
    return this.#packs[packOf(entry)]?.[entry >>> 0] ?? 0
  }

  /** Sets bits of an entry. */
  add(entry: Entry, bits: number): void {
    const pack = packOf(entry)
    const marks = (this.#packs[pack] ??= new Uint8Array(this.#view.objectsIn(pack)))
    marks[entry >>> 0]! |= bits
  }

  /** Sets bits of all entries of a pack, in place of what they had. */
  fill(pack: number, bits: number): void {
    this.#packs[pack] = new Uint8Array(this.#view.objectsIn(pack)).fill(bits)
  }
}
