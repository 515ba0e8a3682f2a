import type { Snapshot } from './snapshot.js'

/** Ordinals of two packs of one collection: history and trees, and the blobs they name. No object is in both. */
export interface PackPair {
  readonly meta: number
  readonly blobs: number
}

/** What the last collection made, of branches and tags: there is no more than one. */
export function findPair(view: Pick<Snapshot, 'packs'>): PackPair | undefined {
  const meta = view.packs.findIndex((pack) => pack.part === 'meta' && pack.class === 0)
  if (meta === -1) return undefined
  const { updateId } = view.packs[meta]!
  const blobs = view.packs.findIndex((pack) => pack.part === 'blobs' && pack.updateId === updateId && pack.class === 0)
  return blobs === -1 ? undefined : { meta, blobs }
}
