import { EntryList } from './entry-list.js'
import type { EntryMarks } from './entry-marks.js'
import { ProtocolError } from './errors.js'
import type { History } from './history.js'
import { eachTreeEntry } from './objects/tree.js'
import { oidFromBytes } from './oid.js'
import type { Entry } from './ports.js'
import { RecentOids } from './recent-oids.js'

const included = 1
const had = 2
/** A submodule's commit lives in another repository. */
const gitlink = 0o160000
const directory = 0o40000
const kindMask = 0o170000

/** Takes in trees with everything below them, each object once, however deep and however often it is named. */
export class TreeWalk {
  readonly trees = new EntryList()
  readonly blobs = new EntryList()
  readonly #history: History
  readonly #marks: EntryMarks
  readonly #onCount: (done: number) => void
  readonly #pending = new EntryList()
  /** Names that were dealt with, by either walk. */
  readonly #recent = new RecentOids()
  readonly #oid = new Uint8Array(20)

  constructor(history: History, marks: EntryMarks, onCount: (done: number) => void) {
    this.#history = history
    this.#marks = marks
    this.#onCount = onCount
  }

  /** To be sent: the tree and what is below it, as far as it is not had. @throws ProtocolError `corrupt` */
  async include(tree: Entry): Promise<void> {
    await this.#walk(tree, included)
  }

  includeBlob(blob: Entry): void {
    this.#take(blob, included, false)
  }

  /** The client has the tree and what is below it. To be called before anything is included. */
  async markHad(tree: Entry): Promise<void> {
    await this.#walk(tree, had)
  }

  async #walk(root: Entry, bit: number): Promise<void> {
    const { reader, slices } = this.#history
    if (!this.#take(root, bit, true)) return
    for (let tree = this.#pending.pop(); tree !== undefined; tree = this.#pending.pop()) {
      const { data } = reader.readNow(tree) ?? (await reader.read(tree))
      eachTreeEntry(data, (mode, _nameStart, _nameEnd, at) => {
        const kind = mode & kindMask
        if (kind === gitlink || this.#recent.note(data, at)) return
        const entry = this.#find(data, at)
        if (entry !== -1) this.#take(entry, bit, kind === directory)
        else if (bit === included) throw new ProtocolError('corrupt', `object ${oidFromBytes(data, at)} is missing`)
      })
      const pause = slices.pause()
      if (pause) await pause
    }
    this.#onCount(this.trees.length + this.blobs.length)
  }

  /** False: it was taken before. */
  #take(entry: Entry, bit: number, isTree: boolean): boolean {
    if (this.#marks.get(entry) & (included | had)) return false
    this.#marks.add(entry, bit)
    if (isTree) this.#pending.push(entry)
    if (bit === included) (isTree ? this.trees : this.blobs).push(entry)
    return true
  }

  #find(bytes: Uint8Array, at: number): Entry {
    const oid = this.#oid
    for (let i = 0; i < 20; i++) oid[i] = bytes[at + i]!
    return this.#history.view.find(oid, 'read')
  }
}
