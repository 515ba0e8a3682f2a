import { EntryList } from '../entry-list.js'
import { EntryMarks } from '../entry-marks.js'
import { History } from '../history.js'
import type { Entry, PackView, WorkOptions } from '../ports.js'
import { RecentOids } from '../recent-oids.js'
import { objectTypes, type Oid } from '../types.js'
import type { BitOrder } from './bit-order.js'
import type { BitmapFile } from './bitmap-file.js'
import { ReachSet } from './reach-set.js'
import { takeTrees } from './take-trees.js'

export interface ReachQuery {
  readonly view: PackView
  readonly order: BitOrder
  /** Of that order. */
  readonly bitmaps: BitmapFile
  readonly wants: readonly Oid[]
  /** What the view does not have says nothing. */
  readonly haves: readonly Oid[]
}

/**
 * Every object that can be reached from the wants and not from the haves, exactly. What is newer than the bitmaps is walked, haves too, down
 * to the first commits that have one. An eighth of a byte for each object of the order, three times over, and a byte for each object of packs
 * with what has no bit.
 * @throws ProtocolError `corrupt` when an object is missing, `cancelled`
 */
export async function findReachable({ view, order, bitmaps, wants, haves }: ReachQuery, { slices }: WorkOptions): Promise<ReachSet> {
  const history = new History(view, slices)
  const had = new ReachSet(view, order)
  const present = haves.map((oid) => history.find(oid)).filter((entry) => entry !== -1)
  await new Reach(history, order, bitmaps, had).take(present)
  const wanted = new ReachSet(view, order, had)
  await new Reach(history, order, bitmaps, wanted).take(wants.map((oid) => history.get(oid)))
  // A bitmap brings what is had along.
  wanted.bits.andNotSet(had.bits)
  return wanted
}

/** Fills a set with what can be reached. */
class Reach {
  readonly #history: History
  readonly #order: BitOrder
  readonly #bitmaps: BitmapFile
  readonly #set: ReachSet
  readonly #met: EntryMarks
  /** Commits to be looked at. */
  readonly #open = new EntryList()
  /** Trees that are to be gone through. */
  readonly #roots = new EntryList()
  readonly #oid = new Uint8Array(20)

  constructor(history: History, order: BitOrder, bitmaps: BitmapFile, set: ReachSet) {
    this.#history = history
    this.#order = order
    this.#bitmaps = bitmaps
    this.#set = set
    this.#met = new EntryMarks(history.view)
  }

  async take(starts: readonly Entry[]): Promise<void> {
    for (const start of starts) await this.#start(start)
    await this.#walkCommits()
    await takeTrees(this.#history, this.#set, this.#roots, new RecentOids())
  }

  async #start(start: Entry): Promise<void> {
    const { view } = this.#history
    let entry = start
    for (; view.typeOf(entry) === objectTypes.tag; entry = await this.#history.tagTarget(entry)) this.#set.addEntry(entry)
    if (view.typeOf(entry) === objectTypes.commit) this.#open.push(entry)
    else if (this.#set.addEntry(entry) && view.typeOf(entry) === objectTypes.tree) this.#roots.push(entry)
  }

  async #walkCommits(): Promise<void> {
    const { view, slices } = this.#history
    const found = new EntryList()
    const trees = new EntryList()
    for (let entry = this.#open.pop(); entry !== undefined; entry = this.#open.pop()) {
      if (this.#met.get(entry) !== 0 || this.#set.covers(entry)) continue
      this.#met.add(entry, 1)
      view.oidOf(entry, this.#oid)
      const bit = this.#order.findBit(this.#oid)
      const reachable = bit === -1 ? undefined : this.#bitmaps.reachableFrom(bit)
      if (reachable) {
        this.#set.bits.orSet(reachable)
        continue
      }
      const { tree, parents } = await this.#history.commit(entry)
      found.push(entry)
      trees.push(this.#history.tree(tree, entry))
      for (const parent of parents) this.#open.push(parent)
      const pause = slices.pause()
      if (pause) await pause
    }
    // Some bitmap that came up later may have them.
    found.view().forEach((entry, i) => {
      if (!this.#set.addEntry(entry)) return
      const tree = trees.at(i)
      if (this.#set.addEntry(tree)) this.#roots.push(tree)
    })
  }
}
