/** No further entry in a list of children. */
export const noEntry = -1

/** Cloneable: shared memory. */
export interface ColumnsState {
  readonly count: number
  readonly offsets: Float64Array
  readonly sizes: Float64Array
  readonly types: Uint8Array
  readonly bases: Int32Array
  readonly crcs: Uint32Array
  readonly oids: Uint8Array
  readonly firstChild: Int32Array
  readonly nextChild: Int32Array
  readonly claimed: Uint8Array
}

/**
 * The columns an indexer fills, by rank. About 50 bytes an object, untouched memory until its object comes.
 * They are made for the number of objects the pack states and grow only for bases that complete a thin pack. In shared memory: objects
 * whose delta trees do not meet can be worked on by several threads.
 */
export class PackColumns {
  count = 0
  offsets: Float64Array
  /** Of the object; of a delta what it says its result has. */
  sizes: Float64Array
  /** As stored (6 and 7 too) until the object is known, then as in a PackIndex. */
  types: Uint8Array
  /** Rank, -1: whole. A REF_DELTA whose base has not turned up: -2 - its number among the names of bases. */
  bases: Int32Array
  crcs: Uint32Array
  oids: Uint8Array
  /** First delta of the object that has not been resolved. */
  firstChild: Int32Array
  /** Next delta of the same base. */
  nextChild: Int32Array
  /** 1: some thread names this whole object, or has. */
  claimed: Uint8Array

  constructor(capacity: number, state?: ColumnsState) {
    const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)
    this.offsets = state?.offsets ?? new Float64Array(shared(capacity * 8))
    this.sizes = state?.sizes ?? new Float64Array(shared(capacity * 8))
    this.types = state?.types ?? new Uint8Array(shared(capacity))
    this.bases = state?.bases ?? new Int32Array(shared(capacity * 4))
    this.crcs = state?.crcs ?? new Uint32Array(shared(capacity * 4))
    this.oids = state?.oids ?? new Uint8Array(shared(capacity * 20))
    this.firstChild = state?.firstChild ?? new Int32Array(shared(capacity * 4))
    this.nextChild = state?.nextChild ?? new Int32Array(shared(capacity * 4))
    this.claimed = state?.claimed ?? new Uint8Array(shared(capacity))
    this.count = state?.count ?? 0
  }

  /** For another thread. */
  state(): ColumnsState {
    const { count, offsets, sizes, types, bases, crcs, oids, firstChild, nextChild, claimed } = this
    return { count, offsets, sizes, types, bases, crcs, oids, firstChild, nextChild, claimed }
  }

  /** Room for one more; its rank. */
  append(): number {
    if (this.count === this.offsets.length) this.#grow()
    const rank = this.count++
    this.firstChild[rank] = noEntry
    this.nextChild[rank] = noEntry
    return rank
  }

  /** Rank of the entry that begins at `offset`, or -1. */
  rankAt(offset: number): number {
    let low = 0
    let high = this.count - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = this.offsets[middle]!
      if (found === offset) return middle
      if (found < offset) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  /** True for the first thread that asks: the object is its to name. */
  claim(rank: number): boolean {
    return Atomics.exchange(this.claimed, rank, 1) === 0
  }

  adopt(child: number, parent: number): void {
    this.nextChild[child] = this.firstChild[parent]!
    this.firstChild[parent] = child
  }

  #grow(): void {
    const larger = new PackColumns(Math.ceil(this.count * 1.25) + 16)
    for (const name of ['offsets', 'sizes', 'types', 'bases', 'crcs', 'oids', 'firstChild', 'nextChild', 'claimed'] as const) {
      larger[name].set(this[name])
    }
    this.offsets = larger.offsets
    this.sizes = larger.sizes
    this.types = larger.types
    this.bases = larger.bases
    this.crcs = larger.crcs
    this.oids = larger.oids
    this.firstChild = larger.firstChild
    this.nextChild = larger.nextChild
    this.claimed = larger.claimed
  }
}
