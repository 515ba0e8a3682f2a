import { noEntry, type PackColumns } from './pack-columns.js'

/** Small objects share slabs of Node's: what holding one may keep alive beside its own bytes. */
const overheadBytes = 4096

/** Where inflated objects come from. */
export interface Derivation {
  /** The object stored whole at a rank. */
  inflate(rank: number): Uint8Array
  /** What the delta at a rank makes of its base. */
  patch(rank: number, base: Uint8Array): Uint8Array
}

/**
 * The chain from a whole object down to the delta that is being resolved, with as much of its content as a budget allows.
 * The shallowest goes first, for it is needed last; what went is derived again on the way back, from the nearest that stayed.
 */
export class DeltaStack {
  depth = 0
  readonly #columns: PackColumns
  readonly #budgetBytes: number
  readonly #derivation: Derivation
  readonly #ranks: number[] = []
  readonly #data: (Uint8Array | undefined)[] = []
  #heldBytes = 0
  /** Nothing is held above this. */
  #shallowest = 0

  constructor(columns: PackColumns, budgetBytes: number, derivation: Derivation) {
    this.#columns = columns
    this.#budgetBytes = budgetBytes
    this.#derivation = derivation
  }

  get top(): number {
    return this.#ranks[this.depth - 1]!
  }

  push(rank: number, data: Uint8Array | undefined): void {
    this.#ranks[this.depth] = rank
    this.#data[this.depth] = undefined
    if (data) this.#hold(this.depth, data)
    this.depth += 1
  }

  pop(): void {
    this.depth -= 1
    this.#drop(this.depth)
  }

  /** Content of the top; kept only if the top has further deltas. */
  topData(): Uint8Array {
    const top = this.depth - 1
    let from = top
    while (from >= 0 && this.#data[from] === undefined) from--
    let data = from >= 0 ? this.#data[from]! : this.#derivation.inflate(this.#ranks[0]!)
    if (from < 0) this.#keep(0, data)
    for (let level = Math.max(from, 0) + 1; level <= top; level++) {
      data = this.#derivation.patch(this.#ranks[level]!, data)
      this.#keep(level, data)
    }
    if (this.#columns.firstChild[this.top] === noEntry) this.#drop(top)
    return data
  }

  #keep(level: number, data: Uint8Array): void {
    if (this.#columns.firstChild[this.#ranks[level]!] !== noEntry) this.#hold(level, data)
  }

  #hold(level: number, data: Uint8Array): void {
    this.#data[level] = data
    this.#heldBytes += data.length + overheadBytes
    this.#shallowest = Math.min(this.#shallowest, level)
    while (this.#heldBytes > this.#budgetBytes && this.#shallowest < level) this.#drop(this.#shallowest++)
  }

  #drop(level: number): void {
    const data = this.#data[level]
    if (data) this.#heldBytes -= data.length + overheadBytes
    this.#data[level] = undefined
  }
}
