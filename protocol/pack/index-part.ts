import type { HeldState } from './held-entries.js'
import type { IndexLimits } from './index-limits.js'
import { noEntry, type ColumnsState, type PackColumns } from './pack-columns.js'

/** Smaller packs are done before another thread has heard of them. */
export const minSplitCount = 10_000

/** A part of the second pass. Cloneable: shared memory. */
export interface IndexPart {
  readonly limits: IndexLimits
  /** The first root it is for. */
  readonly from: number
  /** Where the entries end. */
  readonly end: number
  readonly deltas: number
  readonly columns: ColumnsState
  readonly held: HeldState
}

export interface IndexPartResult {
  readonly resolved: number
  readonly references: Uint8Array
  readonly special: readonly [Uint8Array, Uint8Array]
}

/** What an object costs beside its bytes, in bytes of content. */
export const objectWork = 2048

/** The rank from which on roots and their deltas make about half of the work. */
export function halfOfWork({ count, bases, sizes }: PackColumns): number {
  const rootOf = new Int32Array(count)
  const work = new Float64Array(count)
  let total = 0
  for (let rank = 0; rank < count; rank++) {
    // The base of an OFS_DELTA stands before it.
    const root = bases[rank] === noEntry ? rank : rootOf[bases[rank]!]!
    rootOf[rank] = root
    work[root]! += objectWork + sizes[rank]!
    total += objectWork + sizes[rank]!
  }
  let sum = 0
  for (let rank = 0; rank < count; rank++) {
    sum += work[rank]!
    if (sum >= total / 2) return rank + 1
  }
  return count
}
