import type { CommitGraph } from '../graph/commit-graph.js'

/** The newest commits that all have a bitmap. */
const newest = 100
/** Up to here one in a hundred has one; beyond, one in so many. */
const recent = 20_000
const recentGap = 100
const oldGap = 3_000
/** Tips that have one wherever they stand; more are only preferred. */
const maxTips = 500

/**
 * Rows of the commits that are to have a bitmap, newest first: the newest hundred, then one in a hundred, then, where history is long, one in
 * 3,000; and the tips that are given first. Among those that could stand for a stretch of history a tip is taken before a merge, a merge
 * before others. `tips`: rows.
 */
export function selectCommits(graph: CommitGraph, tips: readonly number[]): number[] {
  const isTip = new Uint8Array(graph.count)
  for (const tip of tips) isTip[tip] = 1
  const order = newestFirst(graph)
  const selected = new Set(tips.slice(0, maxTips))
  for (let at = 0; at < order.length; ) {
    const end = Math.min(order.length, at + 1 + gapAt(at))
    let chosen = order[end - 1]!
    let worth = 0
    for (let i = at; i < end; i++) {
      const row = order[i]!
      const worthHere = isTip[row] === 1 ? 2 : graph.parentAt(row, 1) === -1 ? 0 : 1
      if (worthHere <= worth) continue
      chosen = row
      worth = worthHere
    }
    selected.add(chosen)
    at = end
  }
  return [...order].filter((row) => selected.has(row))
}

/** How many commits go by until the next bitmap, `place` commits from the newest. */
function gapAt(place: number): number {
  if (place < newest) return 0
  if (place < recent) return Math.min(place - newest, recentGap)
  return Math.min(recentGap + place - recent, oldGap)
}

/** By corrected date, so that no commit comes before one that descends from it. */
function newestFirst(graph: CommitGraph): Uint32Array {
  const order = Uint32Array.from({ length: graph.count }, (_, row) => row)
  return order.toSorted((a, b) => graph.heightOf(b) - graph.heightOf(a) || a - b)
}
