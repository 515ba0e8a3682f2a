import type { CommitColumns } from './commit-columns.js'
import type { EntryList } from './entry-list.js'
import type { EntryMarks } from './entry-marks.js'
import type { Entry } from './ports.js'

/** The objects of an answer, each once by name. */
export interface ObjectSet {
  readonly count: number
  /** Newest first, as far as clocks tell, or in pack order. */
  readonly commits: EntryList
  readonly tags: EntryList
  /** In pack order. */
  readonly trees: EntryList
  readonly blobs: EntryList
  /** `objectBits` of every object. */
  readonly marks: EntryMarks
  /** All commits that were come upon: when nothing is had and nothing cut, all there are, with all their parents. */
  readonly history?: CommitColumns
  /** Packs of which everything is in the set, and whose order is good enough to go out as they stand, before all else. */
  readonly whole?: readonly number[]
  /** The entry, of several with one name, that is marked if any is; -1: there is none. */
  find(oid: Uint8Array): Entry
}
