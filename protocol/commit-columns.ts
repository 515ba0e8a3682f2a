import { EntryList } from './entry-list.js'
import type { HistoryCommit } from './history.js'
import type { Entry } from './ports.js'

/** Commits that a walk came upon, by numbers in the order they came: read once, about 42 bytes each. */
export class CommitColumns {
  readonly #entries = new EntryList()
  readonly #trees = new EntryList()
  /** All parents of all commits in a row, and where those of each commit begin. */
  readonly #parents = new EntryList()
  readonly #firstParents = new EntryList()
  readonly #seconds = new EntryList()

  get count(): number {
    return this.#entries.length
  }

  /** Number of the commit. */
  add(entry: Entry, { tree, parents, seconds }: HistoryCommit): number {
    this.#firstParents.push(this.#parents.length)
    for (const parent of parents) this.#parents.push(parent)
    this.#trees.push(tree)
    this.#seconds.push(seconds)
    this.#entries.push(entry)
    return this.#entries.length - 1
  }

  entryOf(commit: number): Entry {
    return this.#entries.at(commit)
  }

  /** -1: it is missing. */
  treeOf(commit: number): Entry {
    return this.#trees.at(commit)
  }

  /** When it was committed, seconds since 1970. */
  secondsOf(commit: number): number {
    return this.#seconds.at(commit)
  }

  /** Its parents in order; valid until the next `add`. */
  parentsOf(commit: number): Float64Array {
    const from = this.#firstParents.at(commit)
    const to = commit + 1 < this.#entries.length ? this.#firstParents.at(commit + 1) : this.#parents.length
    return this.#parents.view().subarray(from, to)
  }
}
