import { entryAt, packOf, rankOf, type WorkOptions } from '../../protocol/ports.js'
import type { Transaction } from '../db/pool.js'
import { insertSharedPacks, lockPacksToShare, type SharedPacks } from '../db/shared-packs.js'
import { lockKept } from '../kept/keep.js'
import { parseBlobKey } from '../storage/keys.js'
import { markOfClass, type Classified } from './collect/classify.js'
import type { Snapshot } from './snapshot.js'

const reached = markOfClass(0)

/**
 * The packs that together hold what was marked as reachable and nothing else, by ordinal: stored ones. Undefined: there are none, so what is marked
 * has to be written anew. It does not matter which copy of an object is marked.
 */
export async function findExactPacks(view: Snapshot, { marks }: Classified, { slices }: WorkOptions): Promise<readonly number[] | undefined> {
  const oid = new Uint8Array(20)
  /** Whether this is so for all objects of a pack that are marked there, or for all others. */
  const every = async (pack: number, whenMarked: boolean, isSo: (oid: Uint8Array) => boolean): Promise<boolean> => {
    for (const [rank, mark] of marks[pack]!.entries()) {
      if ((rank & 1023) === 0) await slices.pause()
      if ((mark === reached) !== whenMarked) continue
      view.oidOf(entryAt(pack, rank), oid)
      if (!isSo(oid)) return false
    }
    return true
  }
  const isReached = (name: Uint8Array): boolean => {
    const entry = view.find(name, 'read')
    return marks[packOf(entry)]![rankOf(entry)] === reached
  }
  const exact: number[] = []
  for (const [pack, { where, class: visibility }] of view.packs.entries())
    if (where !== 'inline' && visibility < 2 && (await every(pack, false, isReached))) exact.push(pack)
  const isThere = (name: Uint8Array): boolean => exact.some((pack) => view.findIn(pack, name) !== -1)
  for (const pack of view.packs.keys()) if (!exact.includes(pack) && !(await every(pack, true, isThere))) return undefined
  return exact
}

/**
 * Gives stored packs of one locked repository to another one that has none yet: no byte is copied, and the blobs stay while either needs them. Bytes
 * of the packs; undefined: some may be gone by now, and nothing was changed.
 */
export async function sharePacks(tx: Transaction, shared: SharedPacks): Promise<number | undefined> {
  const keys = await lockPacksToShare(tx, shared.fromRepoId, shared.packIds)
  if (!keys || !(await lockKept(tx, keys.map(parseBlobKey)))) return undefined
  return insertSharedPacks(tx, shared)
}
