import type { CommitRows } from './commit-rows.js'

/** A level beyond counting stays what it is. */
const maxLevel = 2 ** 30 - 1

export interface Generations {
  /** One more than the highest of the parents; 1: there are none. */
  readonly levels: Uint32Array
  /** The time of the commit, or one second more than the latest of its parents where that is later. */
  readonly dates: Float64Array
}

/**
 * Both generation numbers of every commit, parents first.
 *
 * Spec: gitformat-commit-graph(5), "Commit Data" and "Generation Data".
 */
export function generationsOf({ count, seconds, parents, firstParents }: CommitRows): Generations {
  const levels = new Uint32Array(count)
  const dates = new Float64Array(count)
  // The way from a commit to where we are, and the parent of each that comes next.
  const path = new Uint32Array(count)
  const next = firstParents.slice()
  for (let start = 0; start < count; start++) {
    if (levels[start] !== 0) continue
    let depth = 0
    path[depth++] = start
    while (depth > 0) {
      const row = path[depth - 1]!
      const end = firstParents[row + 1]!
      while (next[row]! < end && levels[parents[next[row]!]!] !== 0) next[row]! += 1
      if (next[row]! < end) {
        path[depth++] = parents[next[row]!]!
        continue
      }
      let level = 0
      let date = 0
      for (let at = firstParents[row]!; at < end; at++) {
        level = Math.max(level, levels[parents[at]!]!)
        date = Math.max(date, dates[parents[at]!]!)
      }
      levels[row] = Math.min(level + 1, maxLevel)
      dates[row] = Math.max(seconds[row]!, date + 1)
      depth -= 1
    }
  }
  return { levels, dates }
}
