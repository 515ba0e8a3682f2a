import { EntryList } from './entry-list.js'
import type { EntryMarks } from './entry-marks.js'
import { ProtocolError } from './errors.js'
import type { History } from './history.js'
import { objectBits } from './object-bits.js'
import { entryKinds } from './objects/tree.js'
import { oidFromBytes } from './oid.js'
import { wholeFilter } from './object-filter.js'
import type { Entry, ObjectFilter } from './ports.js'
import { RecentOids } from './recent-oids.js'
import { objectTypes } from './types.js'

const { included, had } = objectBits

/**
 * Takes in trees with everything below them, each object once, however deep and however often it is named. Level by level, and each level
 * in pack order: so reading runs along the pack, and what a tree is a delta of has mostly just been read.
 */
export class TreeWalk {
  readonly trees = new EntryList()
  readonly blobs = new EntryList()
  readonly #history: History
  readonly #marks: EntryMarks
  readonly #onCount: (done: number) => void
  /** Trees that were taken and not looked into: the next level. */
  #pending = new EntryList()
  /** Names that were dealt with, by either walk. */
  readonly #recent = new RecentOids()
  readonly #oid = new Uint8Array(20)

  constructor(history: History, marks: EntryMarks, onCount: (done: number) => void) {
    this.#history = history
    this.#marks = marks
    this.#onCount = onCount
  }

  /** The client has these trees and what is below them. To be called before anything is included. @throws ProtocolError `corrupt` */
  async markHad(trees: EntryList): Promise<void> {
    for (const tree of trees.view()) this.#take(tree, had, true)
    while (this.#pending.length > 0) await this.#lookInto(had)
  }

  /**
   * To be sent: `named`, trees that were wanted by name, and `roots`, the trees of commits, with what is below them, as far as it is not had
   * and the filter leaves it. Level by level, everything is met first where it lies least deep. @throws ProtocolError `corrupt`
   */
  async include(named: EntryList, roots: EntryList, { blobBytes, treeDepth }: ObjectFilter = wholeFilter): Promise<void> {
    for (const tree of named.view()) this.#take(tree, included, true)
    if (treeDepth > 0) await this.#lookInto(included, blobBytes)
    else this.#pending = new EntryList()
    if (treeDepth > 0) for (const root of roots.view()) this.#take(root, included, true)
    for (let depth = 1; this.#pending.length > 0 && depth < treeDepth; depth++) await this.#lookInto(included, blobBytes)
  }

  includeBlob(blob: Entry): void {
    this.#take(blob, included, false)
  }

  /** One level: what its trees name is the next. */
  async #lookInto(bit: number, blobBytes = Number.POSITIVE_INFINITY): Promise<void> {
    const { reader, slices } = this.#history
    const level = this.#pending
    this.#pending = new EntryList()
    level.sort()
    for (const tree of level.view()) {
      const { data } = reader.readNow(tree) ?? (await reader.read(tree))
      this.#takeEntries(data, bit, blobBytes)
      const pause = slices.pause()
      if (pause) await pause
    }
    this.#onCount(this.trees.length + this.blobs.length)
  }

  #takeEntries(tree: Uint8Array, bit: number, blobBytes: number): void {
    this.#recent.eachNew(tree, (mode, at) => {
      const isTree = (mode & entryKinds.mask) === entryKinds.directory
      if (!isTree && blobBytes === 0) return
      const entry = this.#find(tree, at)
      if (entry !== -1 && !isTree && this.#history.view.sizeOf(entry) >= blobBytes) return
      if (entry !== -1) this.#take(entry, bit, isTree)
      else if (bit === included) throw new ProtocolError('corrupt', `object ${oidFromBytes(tree, at)} is missing`)
    })
  }

  /** An entry that is taken already stays what it is. */
  #take(entry: Entry, bit: number, isTree: boolean): void {
    if (this.#marks.get(entry) & (included | had)) return
    const { view } = this.#history
    if (view.typeOf(entry) !== (isTree ? objectTypes.tree : objectTypes.blob))
      throw new ProtocolError('corrupt', `object ${this.#history.oidOf(entry)} is not a ${isTree ? 'tree' : 'blob'}`)
    this.#marks.add(entry, bit)
    if (isTree) this.#pending.push(entry)
    if (bit === included) (isTree ? this.trees : this.blobs).push(entry)
  }

  #find(bytes: Uint8Array, at: number): Entry {
    const oid = this.#oid
    for (let i = 0; i < 20; i++) oid[i] = bytes[at + i]!
    return this.#history.view.find(oid, 'read')
  }
}
