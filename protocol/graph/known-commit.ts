import type { Entry, PackView } from '../ports.js'
import type { CommitGraph } from './commit-graph.js'

/** Root tree and parents as entries of a view, and when it was committed. */
export interface KnownCommit {
  readonly tree: Entry
  readonly parents: readonly Entry[]
  /** Since 1970. */
  readonly seconds: number
}

/** What a graph says of a commit, as the view has it; undefined: nothing, or of objects that are not here. `scratch`: 20 bytes. */
export function knownCommit(view: PackView, graph: CommitGraph, entry: Entry, scratch: Uint8Array): KnownCommit | undefined {
  view.oidOf(entry, scratch)
  const row = graph.findRow(scratch)
  if (row === -1) return undefined
  const parents: Entry[] = []
  for (let n = 0, parent = 0; (parent = graph.parentAt(row, n)) !== -1; n++) parents.push(view.find(graph.oidOf(parent), 'read'))
  const tree = view.find(graph.treeOf(row), 'read')
  return tree === -1 || parents.includes(-1) ? undefined : { tree, parents, seconds: graph.secondsOf(row) }
}
