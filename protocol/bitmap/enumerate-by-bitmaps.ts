import { EntryList } from '../entry-list.js'
import { EntryMarks } from '../entry-marks.js'
import { History } from '../history.js'
import { objectBits } from '../object-bits.js'
import type { ObjectSet } from '../object-set.js'
import { oidBytes } from '../oid.js'
import type { Entry, PackRequest, PackView, WorkOptions } from '../ports.js'
import { objectTypes } from '../types.js'
import { wholePacksOf } from '../whole-packs.js'
import type { BitOrder } from './bit-order.js'
import type { BitmapFile } from './bitmap-file.js'
import { findReachable } from './find-reachable.js'
import type { ReachSet } from './reach-set.js'

/** Bitmaps of some of the packs of a view. */
export interface ReachBitmaps {
  readonly order: BitOrder
  /** Of that order. */
  readonly file: BitmapFile
}

/** Bits looked at in one piece, a multiple of 32. */
const bitsAtOnce = 65_536

/**
 * Everything reachable from the wants and not from the haves, exactly: what bitmaps are about by their bits, what is newer by a walk.
 * @throws ProtocolError `corrupt` when an object is missing, `cancelled`
 */
export async function enumerateByBitmaps(
  view: PackView,
  { wants, haves, includeTag, thinPack }: PackRequest,
  options: WorkOptions,
  { order, file }: ReachBitmaps,
): Promise<ObjectSet> {
  const wanted = await findReachable({ view, order, bitmaps: file, wants, haves }, options)
  const answer = new Answer(view, order, wanted)
  if (thinPack && wanted.without) await answer.markHad(wanted.without, options)
  await answer.takeAll(options)
  if (includeTag) await answer.takeTags(options)
  const set = answer.finish()
  options.onProgress?.({ title: 'Enumerating objects', done: set.count, total: 0 })
  return set
}

class Answer {
  readonly #view: PackView
  readonly #order: BitOrder
  readonly #wanted: ReachSet
  readonly #marks: EntryMarks
  readonly #lists = {
    [objectTypes.commit]: new EntryList(),
    [objectTypes.tree]: new EntryList(),
    [objectTypes.blob]: new EntryList(),
    [objectTypes.tag]: new EntryList(),
  }
  readonly #oid = new Uint8Array(20)

  constructor(view: PackView, order: BitOrder, wanted: ReachSet) {
    this.#view = view
    this.#order = order
    this.#wanted = wanted
    this.#marks = new EntryMarks(view)
  }

  async markHad(had: ReachSet, options: WorkOptions): Promise<void> {
    const mark = (entry: Entry): void => this.#marks.add(entry, objectBits.had)
    had.extra.view().forEach(mark)
    await this.#eachBit(had, options, mark)
  }

  /** What came after the bitmaps is newer than all they are about. */
  async takeAll(options: WorkOptions): Promise<void> {
    const { extra } = this.#wanted
    extra.view().forEach((entry) => this.#take(entry))
    this.#lists[objectTypes.tree].sort()
    this.#lists[objectTypes.blob].sort()
    await this.#eachBit(this.#wanted, options, (entry) => this.#take(entry))
  }

  /** Tags of what is sent come with it. */
  async takeTags({ slices }: WorkOptions): Promise<void> {
    const history = new History(this.#view, slices)
    for (const { oid, peeled } of this.#view.refs.list) {
      const pause = slices.pause()
      if (pause) await pause
      if (peeled === undefined) continue
      const target = this.find(oidBytes(peeled))
      if (target === -1 || !(this.#marks.get(target) & objectBits.included)) continue
      for (let entry = history.get(oid); this.#view.typeOf(entry) === objectTypes.tag; entry = await history.tagTarget(entry))
        if (this.#wanted.addEntry(entry)) this.#take(this.#own(entry))
    }
  }

  finish(): ObjectSet {
    const { 1: commits, 2: trees, 3: blobs, 4: tags } = this.#lists
    const count = commits.length + trees.length + blobs.length + tags.length
    const set = { count, commits, tags, trees, blobs, marks: this.#marks, find: (oid: Uint8Array) => this.find(oid) }
    return { ...set, whole: wholePacksOf(this.#view, set) }
  }

  find(oid: Uint8Array): Entry {
    const bit = this.#order.findBit(oid)
    return bit === -1 ? this.#view.find(oid, 'read') : this.#order.entryOfBit(bit)
  }

  #own(entry: Entry): Entry {
    this.#view.oidOf(entry, this.#oid)
    return this.find(this.#oid)
  }

  #take(entry: Entry): void {
    this.#marks.add(entry, objectBits.included)
    this.#lists[this.#view.typeOf(entry)].push(entry)
  }

  async #eachBit({ bits }: ReachSet, { slices }: WorkOptions, visit: (entry: Entry) => void): Promise<void> {
    for (let from = 0; from < bits.count; from += bitsAtOnce) {
      bits.each((bit) => visit(this.#order.entryOfBit(bit)), from, from + bitsAtOnce)
      const pause = slices.pause()
      if (pause) await pause
    }
  }
}
