import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import type { BlobStore } from '../../storage/blob-store.js'
import { findPair } from '../pack-pair.js'
import { readSideFile, unlessCorrupt } from '../read-side-file.js'
import type { Snapshot } from '../snapshot.js'

/** The commit graph that the last collection left, in shared memory; undefined: it left none, or it is missing or wrong. */
export async function readKnownGraph(store: BlobStore, view: Snapshot): Promise<Uint8Array | undefined> {
  const pair = findPair(view)
  const sha256 = pair && view.packs[pair.meta]!.sideFiles?.graph
  if (!sha256) return undefined
  return unlessCorrupt(() => readSideFile(store, { kind: 'graph', sha256, what: `the commit graph of repository ${view.repoId}` }))
}

/** Undefined for undefined, and for what is none. */
export const openKnownGraph = (bytes: Uint8Array | undefined): Promise<CommitGraph | undefined> =>
  unlessCorrupt(async () => bytes && CommitGraph.open(bytes))
