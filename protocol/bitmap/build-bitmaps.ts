import { EntryList } from '../entry-list.js'
import { ProtocolError } from '../errors.js'
import type { CommitGraph } from '../graph/commit-graph.js'
import { History } from '../history.js'
import { oidFromBytes } from '../oid.js'
import type { PackView, WorkOptions } from '../ports.js'
import { RecentOids } from '../recent-oids.js'
import { objectTypes } from '../types.js'
import type { BitOrder } from './bit-order.js'
import { BitSet } from './bit-set.js'
import { encodeBitmapFile, type CommitBitmap } from './bitmap-file-writer.js'
import type { Ewah } from './ewah.js'
import { ReachSet } from './reach-set.js'
import { selectCommits } from './select-commits.js'
import { skeletonOf, type SkeletonCommit } from './skeleton.js'
import { takeTrees } from './take-trees.js'

/** What all bitmaps take while they are made, packed, if nothing else is said. */
const byDefaultBytes = 512 * 1024 * 1024

const unknown = -1

export interface BitmapRequest {
  /** Has all objects of `order`. */
  readonly view: PackView
  readonly order: BitOrder
  /** Of all commits that the tips lead to. */
  readonly graph: CommitGraph
  /** Rows of commits that should have a bitmap, the most important first. */
  readonly tips: readonly number[]
  /** What all bitmaps may take while they are made, packed, bytes. */
  readonly maxBitmapBytes?: number
}

/**
 * The bitmap file of a pack, or of a multi-pack index, that has everything its commits lead to. History is gone through once, oldest first,
 * with one set of bits; each bitmap is packed when it is complete. So it takes what the packed bitmaps take, and some 15 bytes a commit.
 * @throws ProtocolError `corrupt` when an object is missing or has no bit, `too-large`, `cancelled`
 */
export async function buildBitmaps(request: BitmapRequest, options: WorkOptions): Promise<Buffer> {
  const { view, order, graph } = request
  const builder = new BitmapBuilder(request, options)
  const selected = selectCommits(graph, request.tips)
  const skeleton = skeletonOf(graph, selected)
  for (const [i, commit] of skeleton.entries()) {
    await builder.add(commit)
    options.onProgress?.({ title: 'Building bitmaps', done: i + 1, total: skeleton.length })
  }
  const bitmaps = selected.map((row): CommitBitmap => ({ commit: builder.bitOf(row), reachable: builder.bitmapOf(row) }))
  return encodeBitmapFile(order, typeBitmaps(view, order), bitmaps)
}

function typeBitmaps(view: PackView, order: BitOrder): [Ewah, Ewah, Ewah, Ewah] {
  const ofType = (type: number): Ewah => {
    const set = new BitSet(order.count)
    for (let bit = 0; bit < order.count; bit++) if (view.typeOf(order.entryOfBit(bit)) === type) set.set(bit)
    return set.toEwah()
  }
  return [ofType(objectTypes.commit), ofType(objectTypes.tree), ofType(objectTypes.blob), ofType(objectTypes.tag)]
}

class BitmapBuilder {
  readonly #order: BitOrder
  readonly #graph: CommitGraph
  readonly #history: History
  readonly #set: ReachSet
  /** Oids that are in the set. */
  #recent = new RecentOids()
  /** The commit the set is that of. */
  #current = -1
  readonly #bitmaps = new Map<number, Ewah>()
  readonly #maxBitmapBytes: number
  #bitmapBytes = 0
  /** By row, once it was asked for. */
  readonly #bitOfRow: Int32Array
  /** By row: the last walk that came by. */
  readonly #met: Uint32Array
  #walk = 0

  constructor({ view, order, graph, maxBitmapBytes = byDefaultBytes }: BitmapRequest, { slices }: WorkOptions) {
    this.#order = order
    this.#graph = graph
    this.#history = new History(view, slices)
    this.#set = new ReachSet(view, order)
    this.#maxBitmapBytes = maxBitmapBytes
    this.#bitOfRow = new Int32Array(graph.count).fill(unknown)
    this.#met = new Uint32Array(graph.count)
  }

  /** Bit of a commit. @throws ProtocolError `corrupt` */
  bitOf(row: number): number {
    const known = this.#bitOfRow[row]!
    return known !== unknown ? known : (this.#bitOfRow[row] = this.#bitOf(this.#graph.oidOf(row)))
  }

  /** Of a commit that was added. */
  bitmapOf(row: number): Ewah {
    return this.#bitmaps.get(row)!
  }

  /** Makes the bitmap of a commit, after that of its base. */
  async add({ commit, base }: SkeletonCommit): Promise<void> {
    if (base !== this.#current || base === -1) {
      this.#set.bits.clear()
      this.#recent = new RecentOids()
      if (base !== -1) this.#set.bits.or(this.bitmapOf(base))
    }
    const found = await this.#walkCommits(commit)
    const roots = new EntryList()
    for (const row of found.view()) {
      // Some bitmap that came up later may have it.
      if (!this.#set.addBit(this.bitOf(row))) continue
      const tree = this.#bitOf(this.#graph.treeOf(row))
      if (this.#set.addBit(tree)) roots.push(this.#order.entryOfBit(tree))
    }
    await takeTrees(this.#history, this.#set, roots, this.#recent)
    if (this.#set.extra.length > 0) throw this.#noBit(this.#history.oidOf(this.#set.extra.at(0)))
    const bitmap = this.#set.bits.toEwah()
    this.#bitmaps.set(commit, bitmap)
    this.#current = commit
    this.#bitmapBytes += bitmap.words.byteLength
    if (this.#bitmapBytes > this.#maxBitmapBytes) {
      throw new ProtocolError('too-large', `bitmaps are over the limit of ${this.#maxBitmapBytes} bytes`)
    }
  }

  /** Commits that are not in the set; bitmaps that come up are taken in. */
  async #walkCommits(start: number): Promise<EntryList> {
    const graph = this.#graph
    const { bits } = this.#set
    const found = new EntryList()
    const open = new EntryList()
    this.#walk += 1
    open.push(start)
    for (let row = open.pop(); row !== undefined; row = open.pop()) {
      if (this.#met[row] === this.#walk || bits.has(this.bitOf(row))) continue
      this.#met[row] = this.#walk
      const known = this.#bitmaps.get(row)
      if (known) {
        bits.or(known)
        continue
      }
      found.push(row)
      for (let n = 0, parent = 0; (parent = graph.parentAt(row, n)) !== -1; n++) open.push(parent)
      const pause = this.#history.slices.pause()
      if (pause) await pause
    }
    return found
  }

  #bitOf(oid: Uint8Array): number {
    const bit = this.#order.findBit(oid)
    if (bit === -1) throw this.#noBit(oidFromBytes(oid))
    return bit
  }

  #noBit(oid: string): ProtocolError {
    return new ProtocolError('corrupt', `object ${oid} is not among those that bitmaps are made of`)
  }
}
