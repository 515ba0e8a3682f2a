import type { CommitGraph } from '../graph/commit-graph.js'

/** A commit whose bitmap is made. */
export interface SkeletonCommit {
  /** Row. */
  readonly commit: number
  /** The next such commit by first parents, or -1. */
  readonly base: number
}

/**
 * The commits whose bitmaps are made so that each starts from that of its base: those selected, and where their lines of first parents join.
 * So a stretch of history is walked once, however many of them come from it. Bases come before what is made of them.
 */
export function skeletonOf(graph: CommitGraph, selected: readonly number[]): SkeletonCommit[] {
  const isKnot = new Uint8Array(graph.count)
  for (const row of selected) isKnot[row] = 1
  const passed = new Uint8Array(graph.count)
  const knots = [...selected]
  for (const start of selected) {
    let row = graph.parentAt(start, 0)
    for (; row !== -1 && isKnot[row] === 0 && passed[row] === 0; row = graph.parentAt(row, 0)) passed[row] = 1
    if (row === -1 || isKnot[row] === 1) continue
    isKnot[row] = 1
    knots.push(row)
  }
  knots.sort((a, b) => graph.levelOf(a) - graph.levelOf(b))
  return knots.map((commit) => {
    let base = graph.parentAt(commit, 0)
    while (base !== -1 && isKnot[base] === 0) base = graph.parentAt(base, 0)
    return { commit, base }
  })
}
