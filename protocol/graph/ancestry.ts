import type { CommitGraph } from './commit-graph.js'

/**
 * Who descends from whom, by a commit graph: no commit is read, and none that is too old to matter is looked at. Eight bytes a commit.
 */
export class Ancestry {
  readonly #graph: CommitGraph
  /** By row: twice the number of the question in which the commit was met, and one more where it leads to what was asked for. */
  readonly #marks: Float64Array
  #question = 0

  constructor(graph: CommitGraph) {
    this.#graph = graph
    this.#marks = new Float64Array(graph.count)
  }

  /** True when there is a path from one commit to the other by parents; from every commit to itself there is. Both are rows. */
  isAncestor(ancestor: number, of: number): boolean {
    return this.reaches([of], [ancestor])
  }

  /** True when every want is a have or has a path to one. All are rows. */
  reaches(wants: readonly number[], haves: readonly number[]): boolean {
    this.#question += 1
    const met = this.#question * 2
    let lowest = Number.POSITIVE_INFINITY
    for (const have of haves) {
      this.#marks[have] = met + 1
      lowest = Math.min(lowest, this.#graph.heightOf(have))
    }
    return wants.every((want) => this.#leads(want, met, lowest))
  }

  /** Depth first. Each commit is met once for all wants; that it leads on is remembered along the path. */
  #leads(want: number, met: number, lowest: number): boolean {
    const graph = this.#graph
    const marks = this.#marks
    const path: number[] = []
    const next: number[] = []
    for (let row = want; ; ) {
      const mark = marks[row]!
      if (mark === met + 1) {
        for (const step of path) marks[step] = met + 1
        return true
      }
      if (mark < met) {
        marks[row] = met
        if (graph.heightOf(row) > lowest) {
          path.push(row)
          next.push(0)
        }
      }
      // On to the next parent of the commit on top that has one.
      for (row = -1; row === -1 && path.length > 0; ) {
        row = graph.parentAt(path.at(-1)!, next[next.length - 1]!++)
        if (row === -1) {
          path.pop()
          next.pop()
        }
      }
      if (row === -1) return false
    }
  }
}
