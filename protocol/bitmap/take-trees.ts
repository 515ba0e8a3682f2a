import { EntryList } from '../entry-list.js'
import { ProtocolError } from '../errors.js'
import type { History } from '../history.js'
import { entryKinds } from '../objects/tree.js'
import type { Entry } from '../ports.js'
import type { RecentOids } from '../recent-oids.js'
import { objectTypes } from '../types.js'
import type { ReachSet } from './reach-set.js'

/**
 * Takes in all that is below these trees, which are in the set. Level by level, and each level in pack order, so that reading runs along the
 * packs. `recent`: oids that are in the set.
 * @throws ProtocolError `corrupt`, `cancelled`
 */
export async function takeTrees(history: History, set: ReachSet, roots: EntryList, recent: RecentOids): Promise<void> {
  const { reader, slices, view } = history
  let level = roots
  const take = (below: EntryList, tree: Uint8Array): void =>
    recent.eachNew(tree, (mode, at) => {
      const entry = set.addOid(tree, at)
      if (entry === -1) return
      const isTree = (mode & entryKinds.mask) === entryKinds.directory
      if (view.typeOf(entry) !== (isTree ? objectTypes.tree : objectTypes.blob)) throw wrongType(history, entry, isTree)
      if (isTree) below.push(entry)
    })
  while (level.length > 0) {
    const below = new EntryList()
    level.sort()
    for (const tree of level.view()) {
      const { data } = reader.readNow(tree) ?? (await reader.read(tree))
      take(below, data)
      const pause = slices.pause()
      if (pause) await pause
    }
    level = below
  }
}

const wrongType = (history: History, entry: Entry, isTree: boolean): ProtocolError =>
  new ProtocolError('corrupt', `object ${history.oidOf(entry)} is not a ${isTree ? 'tree' : 'blob'}`)
