import type { EntryList } from './entry-list.js'
import type { EntryMarks } from './entry-marks.js'
import type { History } from './history.js'
import { objectBits } from './object-bits.js'
import { eachTreeEntry, entryKinds } from './objects/tree.js'
import type { Entry } from './ports.js'
import { objectTypes } from './types.js'

const { had, placed } = objectBits

/** Trees that stand at one path: those the client has, and those that are to be sent. */
interface Place {
  readonly had: Entry[]
  readonly sent: Entry[]
}

/**
 * Marks what the client has along the paths where something is to be sent: beside a changed folder the client's own version of it, and of
 * that what it names. A fetch of few commits then costs what they changed and not a walk of everything they left alone. What was moved or
 * copied from elsewhere is not noticed, and is sent again.
 */
export class TreeEdges {
  readonly #history: History
  readonly #marks: EntryMarks
  readonly #oid = new Uint8Array(20)

  constructor(history: History, marks: EntryMarks) {
    this.#history = history
    this.#marks = marks
  }

  /** Root trees of commits the client has, and of those it is to get. @throws ProtocolError `corrupt` */
  async mark(hadTrees: EntryList, sentTrees: EntryList): Promise<void> {
    if (hadTrees.length === 0) return
    const { slices } = this.#history
    for (const tree of hadTrees.view()) this.#marks.add(tree, had)
    const places: Place[] = [{ had: [...hadTrees.view()], sent: [...sentTrees.view()] }]
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      for (const below of await this.#markPlace(place)) if (below.had.length > 0) places.push(below)
      const pause = slices.pause()
      if (pause) await pause
    }
  }

  /** Marks what the client's versions of a folder name; the folders in it that differ. */
  async #markPlace(place: Place): Promise<Iterable<Place>> {
    for (const tree of place.had) {
      await this.#each(tree, (entry) => {
        if (entry !== -1) this.#marks.add(entry, had)
      })
    }
    const below = new Map<string, Place>()
    for (const tree of place.sent) {
      if (this.#marks.get(tree) & had) continue
      await this.#each(tree, (entry, isTree, name) => {
        if (!isTree || entry === -1 || this.#marks.get(entry) & had || !this.#place(entry)) return
        const key = name()
        const there = below.get(key)
        if (there) there.sent.push(entry)
        else below.set(key, { had: [], sent: [entry] })
      })
    }
    if (below.size === 0) return []
    for (const tree of place.had) {
      await this.#each(tree, (entry, isTree, name) => {
        if (!isTree || entry === -1 || this.#marks.get(entry) & placed) return
        const there = below.get(name())
        if (there && this.#place(entry)) there.had.push(entry)
      })
    }
    return below.values()
  }

  /** False: it has a place, or it is no tree, which whoever sends it will say. */
  #place(tree: Entry): boolean {
    if (this.#marks.get(tree) & placed || this.#history.view.typeOf(tree) !== objectTypes.tree) return false
    this.#marks.add(tree, placed)
    return true
  }

  async #each(tree: Entry, visit: (entry: Entry, isTree: boolean, name: () => string) => void): Promise<void> {
    const { reader, view, slices } = this.#history
    const { data } = reader.readNow(tree) ?? (await reader.read(tree))
    const oid = this.#oid
    eachTreeEntry(data, (mode, nameStart, nameEnd, at) => {
      const kind = mode & entryKinds.mask
      if (kind === entryKinds.submodule) return
      for (let i = 0; i < 20; i++) oid[i] = data[at + i]!
      const name = (): string => Buffer.from(data.buffer, data.byteOffset + nameStart, nameEnd - nameStart).toString('latin1')
      visit(view.find(oid, 'read'), kind === entryKinds.directory, name)
    })
    const pause = slices.pause()
    if (pause) await pause
  }
}
