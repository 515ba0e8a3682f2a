import { corruptTree, entryKinds } from './objects/tree.js'

const firstSlots = 1024
const maxSlots = 256 * 1024
/** Words of an oid. */
const width = 5
const space = 0x20

/** Told of a tree entry: its mode as a number, and where its 20 bytes of oid begin. */
export type VisitNewEntry = (mode: number, oidOffset: number) => void

/**
 * Remembers oids seen lately. May forget one, never makes one up. Trees repeat most of what other trees say: asked first, it spares
 * most of the lookups of a walk.
 */
export class RecentOids {
  #slots = firstSlots
  /** As they stand in memory, five words each. */
  #oids = new Int32Array(firstSlots * width)
  #misses = 0
  #buffer: ArrayBufferLike | undefined
  #words: DataView = new DataView(new ArrayBuffer(0))

  /** True when the oid at `at` has been noted before. */
  note(bytes: Uint8Array, at: number): boolean {
    return this.#note(this.#wordsOf(bytes), bytes.byteOffset + at)
  }

  /**
   * Calls `visit` for the entries of a stored tree, in order, whose oids have not been noted before, and notes them; submodules, whose commits lie
   * elsewhere, are passed over. Allocates nothing. Walks do little else, and by way of `eachTreeEntry` it would take half as long again.
   * @throws ProtocolError `corrupt`
   */
  eachNew(tree: Uint8Array, visit: VisitNewEntry): void {
    const words = this.#wordsOf(tree)
    const start = tree.byteOffset
    for (let at = 0; at < tree.length; ) {
      let mode = 0
      let byte: number | undefined
      while ((byte = tree[at++]) !== space) {
        if (byte === undefined || byte < 0x30 || byte > 0x37 || mode > 0o777777) throw corruptTree()
        mode = (mode << 3) | (byte - 0x30)
      }
      while (at < tree.length && tree[at] !== 0) at += 1
      if (at + 21 > tree.length) throw corruptTree()
      if ((mode & entryKinds.mask) !== entryKinds.submodule && !this.#note(words, start + at + 1)) visit(mode, at + 1)
      at += 21
    }
  }

  #note(words: DataView, at: number): boolean {
    const oids = this.#oids
    const first = words.getInt32(at, true)
    const slot = (first & (this.#slots - 1)) * width
    const second = words.getInt32(at + 4, true)
    const third = words.getInt32(at + 8, true)
    const fourth = words.getInt32(at + 12, true)
    const fifth = words.getInt32(at + 16, true)
    if (oids[slot] === first && oids[slot + 1] === second && oids[slot + 2] === third && oids[slot + 3] === fourth && oids[slot + 4] === fifth)
      return true
    oids[slot] = first
    oids[slot + 1] = second
    oids[slot + 2] = third
    oids[slot + 3] = fourth
    oids[slot + 4] = fifth
    if (++this.#misses > 2 * this.#slots) this.#grow()
    return false
  }

  /** Over the memory that the bytes lie in: mostly the same as before. */
  #wordsOf({ buffer }: Uint8Array): DataView {
    if (buffer !== this.#buffer) {
      this.#buffer = buffer
      this.#words = new DataView(buffer)
    }
    return this.#words
  }

  #grow(): void {
    this.#misses = 0
    if (this.#slots === maxSlots) return
    this.#slots *= 4
    this.#oids = new Int32Array(this.#slots * width)
  }
}
