import type { Snapshot } from './snapshot.js'

/** Ordinals of two packs of one collection: history and trees, and the blobs they name. No object is in both. */
export interface PackPair {
  readonly meta: number
  readonly blobs: number
}

/** All such pairs of a snapshot that are whole. */
export function pairsOf(view: Pick<Snapshot, 'packs'>): readonly PackPair[] {
  return view.packs.flatMap(({ part, updateId }, meta) => {
    if (part !== 'meta') return []
    const blobs = view.packs.findIndex((other) => other.part === 'blobs' && other.updateId === updateId && other.class < 2)
    return blobs === -1 ? [] : [{ meta, blobs }]
  })
}
