import { packOf, rankOf, type Entry, type FindUse, type PackView, type RefTable } from '../../protocol/ports.js'
import type { ObjectTable } from '../../protocol/pack/object-table.js'
import type { ObjectType } from '../../protocol/types.js'

/** Where the bytes of a pack that nobody else sees are. */
interface StagedBytes {
  read(from: number, to: number): Uint8Array
}

/** A repository and a staged pack together: the pack comes last, and is found first. What the pack holds may be relied on. */
export class StagedView implements PackView {
  readonly refs: RefTable
  readonly packCount: number
  readonly #view: PackView
  readonly #table: ObjectTable
  readonly #bytes: StagedBytes
  readonly #ordinal: number

  constructor(view: PackView, table: ObjectTable, bytes: StagedBytes) {
    this.refs = view.refs
    this.packCount = view.packCount + 1
    this.#view = view
    this.#table = table
    this.#bytes = bytes
    this.#ordinal = view.packCount
  }

  objectsIn(pack: number): number {
    return pack === this.#ordinal ? this.#table.count : this.#view.objectsIn(pack)
  }

  find(oid: Uint8Array, use: FindUse): Entry {
    const row = this.#table.findRow(oid)
    return row === -1 ? this.#view.find(oid, use) : this.#ordinal * 2 ** 32 + this.#table.rankOfRow(row)
  }

  oidOf(entry: Entry, into: Uint8Array): void {
    if (this.#isOurs(entry)) this.#table.oidOfRank(rankOf(entry), into)
    else this.#view.oidOf(entry, into)
  }

  typeOf(entry: Entry): ObjectType {
    return this.#isOurs(entry) ? this.#table.typeOf(rankOf(entry)) : this.#view.typeOf(entry)
  }

  sizeOf(entry: Entry): number {
    return this.#isOurs(entry) ? this.#table.sizeOf(rankOf(entry)) : this.#view.sizeOf(entry)
  }

  offsetOf(entry: Entry): number {
    return this.#isOurs(entry) ? this.#table.offsetOf(rankOf(entry)) : this.#view.offsetOf(entry)
  }

  endOf(entry: Entry): number {
    return this.#isOurs(entry) ? this.#table.endOf(rankOf(entry)) : this.#view.endOf(entry)
  }

  baseOf(entry: Entry): Entry {
    if (!this.#isOurs(entry)) return this.#view.baseOf(entry)
    const base = this.#table.baseOf(rankOf(entry))
    return base === -1 ? -1 : this.#ordinal * 2 ** 32 + base
  }

  isRefDelta(entry: Entry): boolean {
    return this.#isOurs(entry) ? this.#table.isRefDelta(rankOf(entry)) : this.#view.isRefDelta(entry)
  }

  async read(pack: number, from: number, to: number): Promise<Uint8Array> {
    return pack === this.#ordinal ? this.#bytes.read(from, to) : this.#view.read(pack, from, to)
  }

  /** The pins are the snapshot's. */
  release(): void {
    this.#view.release()
  }

  #isOurs(entry: Entry): boolean {
    return packOf(entry) === this.#ordinal
  }
}
