import { EntryList } from '../../../protocol/entry-list.js'
import { EntryMarks } from '../../../protocol/entry-marks.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { History } from '../../../protocol/history.js'
import { eachTreeEntry, entryKinds } from '../../../protocol/objects/tree.js'
import { packOf, rankOf, type Entry, type PackView, type WorkOptions } from '../../../protocol/ports.js'
import { objectTypes, type Oid } from '../../../protocol/types.js'
import { markOfClass, unreached } from './classify.js'

const seen = 1

/**
 * Whether all that these tips lead to may still be relied on once some packs are replaced by what was marked in them. `marks`: of those packs, by
 * ordinal; undefined: the pack came later and stays. Only what came later is walked: what was marked has its closure marked.
 */
export type Covers = (view: PackView, tips: readonly Oid[], marks: readonly (Uint8Array | undefined)[], options: WorkOptions) => Promise<boolean>

/** @throws ProtocolError `corrupt` when something is missing, `cancelled` */
export const covers: Covers = async (view, tips, marks, { slices }) => {
  const history = new History(view, slices)
  const known = new EntryMarks(view)
  const pending = new EntryList()
  let covered = true
  const take = (entry: Entry): void => {
    const of = marks[packOf(entry)]
    if (of) {
      const mark = of[rankOf(entry)]!
      if (mark === unreached || mark > markOfClass(1)) covered = false
    } else if (known.get(entry) === 0) {
      known.add(entry, seen)
      pending.push(entry)
    }
  }
  for (const oid of tips) take(history.get(oid))
  for (let entry = pending.pop(); entry !== undefined && covered; entry = pending.pop()) {
    await takeReferences(history, entry, take)
    const pause = slices.pause()
    if (pause) await pause
  }
  return covered
}

async function takeReferences(history: History, entry: Entry, take: (entry: Entry) => void): Promise<void> {
  const type = history.view.typeOf(entry)
  if (type === objectTypes.commit) {
    const { tree, parents } = await history.commit(entry)
    take(history.tree(tree, entry))
    for (const parent of parents) take(parent)
  } else if (type === objectTypes.tag) {
    take(await history.tagTarget(entry))
  } else if (type === objectTypes.tree) {
    const { data } = history.reader.readNow(entry) ?? (await history.reader.read(entry))
    eachTreeEntry(data, (mode, _nameStart, _nameEnd, at) => {
      if ((mode & entryKinds.mask) === entryKinds.submodule) return
      const named = history.view.find(data.subarray(at, at + 20), 'read')
      if (named === -1) throw new ProtocolError('corrupt', `tree ${history.oidOf(entry)} names what is missing`)
      take(named)
    })
  }
}
