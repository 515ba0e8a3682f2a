import type { ObjectSet } from './object-set.js'
import { entryAt, packOf, type PackView } from './ports.js'

/** Fewer objects are as well written one by one. */
const fewObjects = 1_000

/** Packs of which everything is in the set, those that begin with history first: their entries can go out as they stand. */
export function wholePacksOf(view: PackView, { commits, tags, trees, blobs }: Omit<ObjectSet, 'whole'>): number[] {
  const counts = new Float64Array(view.packCount)
  for (const list of [commits, tags, trees, blobs]) for (const entry of list.view()) counts[packOf(entry)]! += 1
  const whole = [...counts.keys()].filter((pack) => counts[pack]! >= fewObjects && counts[pack] === view.objectsIn(pack))
  return whole.toSorted((a, b) => view.typeOf(entryAt(a, 0)) - view.typeOf(entryAt(b, 0)))
}
