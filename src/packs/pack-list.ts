import type { ObjectTable } from '../../protocol/pack/object-table.js'
import type { InlineRow, PackRow } from '../db/packs.js'
import { InlinePacks, type InlinePacksOptions } from './inline-packs.js'
import { ownBytes } from './own-bytes.js'
import type { HeldBytes } from './pack-file.js'
import type { PackSet, SnapshotPack, StoredPack } from './snapshot.js'

/** What changed rows need before they can be taken in, by pack id. */
export interface LoadedPacks {
  /** Numbers of the new inline ones, from `addInline`. */
  readonly inline: ReadonlyMap<number, number>
  /** The new ones of the BlobStore, held once for the list. */
  readonly stored: ReadonlyMap<number, OpenedPack>
}

export interface OpenedPack {
  readonly table: ObjectTable
  readonly bytes: HeldBytes
  readonly path: string | null
}

interface StoredMember {
  readonly pack: SnapshotPack
  readonly opened: OpenedPack
}
interface InlineMember {
  readonly pack: SnapshotPack
  readonly number: number
}

/** The packs of one repository, brought forward row by row. What it costs depends on what changed, not on how much there is. */
export class PackList {
  readonly #inline: InlinePacks
  readonly #storedMembers = new Map<number, StoredMember>()
  /** In the order of their numbers: a member that changes moves to the end. */
  readonly #inlineMembers = new Map<number, InlineMember>()
  #holders = 1
  #memberBytes = 0
  #set: HeldSet | undefined

  constructor(options: InlinePacksOptions) {
    this.#inline = new InlinePacks(options)
  }

  knows(packId: number): boolean {
    return this.#storedMembers.has(packId) || this.#inlineMembers.has(packId)
  }

  /** Memory held, bytes, as of the last `bringForward`. */
  get bytes(): number {
    return this.#inline.bytes + this.#memberBytes
  }

  /** So much belongs to packs that are gone that a fresh start is cheaper. */
  get isWorn(): boolean {
    return this.#inline.deadBytes > 1024 * 1024 && this.#inline.deadBytes * 3 > this.#inline.bytes
  }

  /**
   * Takes the bytes of inline packs into memory, or into the file; nobody sees them before `bringForward`. Returns number by pack id.
   * @throws ProtocolError `corrupt` for a table that is none
   */
  async addInline(rows: readonly InlineRow[]): Promise<Map<number, number>> {
    const numbers = await this.#inline.add(rows.map(({ pack, tbl }) => ({ pack, table: tbl })))
    return new Map(rows.map(({ packId }, i) => [packId, numbers[i]!]))
  }

  /** Takes in changed rows. `loaded` has what the new ones need. */
  bringForward(rows: readonly PackRow[], loaded: LoadedPacks): void {
    for (const row of rows) {
      const { id } = row
      if (row.tblSha256) {
        const opened = loaded.stored.get(id) ?? this.#storedMembers.get(id)?.opened
        if (row.state === 'retired') {
          opened?.bytes.drop()
          this.#storedMembers.delete(id)
        } else if (opened) {
          this.#storedMembers.set(id, { pack: packOf(row, opened.path === null ? 'remote' : 'file'), opened })
        }
        continue
      }
      const known = this.#inlineMembers.get(id)
      if (known) this.#inline.retire(known.number, { gone: row.state === 'retired' })
      this.#inlineMembers.delete(id)
      const number = known ? (row.state === 'retired' ? undefined : this.#inline.renew(known.number)) : loaded.inline.get(id)
      if (number !== undefined) this.#inlineMembers.set(id, { pack: packOf(row, 'inline'), number })
    }
    const old = this.#set
    this.#set = new HeldSet(
      this,
      this.#freeze(),
      [...this.#storedMembers.values()].map(({ opened }) => opened.bytes),
    )
    old?.drop()
  }

  /** The packs as they stand. The caller drops the set when the snapshot ends. */
  holdSet(): HeldSet {
    const set = this.#set!
    set.hold()
    return set
  }

  hold(): void {
    this.#holders++
  }

  /** The last one out, sets included, closes the files. */
  drop(): void {
    if (--this.#holders === 0) void this.#inline.dispose()
  }

  /** Gives the list up. Sets that are still held stay whole. */
  retire(): void {
    this.#set?.drop()
    for (const { opened } of this.#storedMembers.values()) opened.bytes.drop()
    this.drop()
  }

  #freeze(): PackSet {
    const stored = [...this.#storedMembers.values()].toSorted((a, b) => searchClass(a.pack) - searchClass(b.pack) || b.pack.id - a.pack.id)
    const members = [...this.#inlineMembers.values()]
    const numbers = new Int32Array(members.length)
    const ordinals = new Int32Array(this.#inline.count).fill(-1)
    const credit = new Uint8Array(this.#inline.count)
    const packs: SnapshotPack[] = stored.map(({ pack }) => pack)
    let allCredit = true
    this.#memberBytes = stored.reduce((sum, { pack, opened }) => sum + opened.table.bytes.length + (pack.roots?.length ?? 0) + 4096, 0)
    members.forEach(({ pack, number }, i) => {
      this.#memberBytes += (pack.roots?.length ?? 0) + 1024
      numbers[i] = number
      ordinals[number] = stored.length + i
      if (pack.class < 2) credit[number] = 1
      else allCredit = false
      packs.push(pack)
    })
    const open = stored.map(({ pack, opened }): StoredPack => ({ ...opened, file: opened.bytes, credit: pack.class < 2 }))
    const creditStored = open.filter((pack) => pack.credit).length
    return {
      packs,
      stored: open,
      inline: this.#inline.index(),
      numbers,
      ordinals,
      credit,
      creditStored,
      allCredit: allCredit && creditStored === open.length,
    }
  }

  get reader(): InlinePacks['reader'] {
    return this.#inline.reader
  }
}

/** The packs of a moment, with what keeps their files open. */
export class HeldSet {
  readonly set: PackSet
  readonly #list: PackList
  readonly #bytes: readonly HeldBytes[]
  #holders = 1

  constructor(list: PackList, set: PackSet, bytes: readonly HeldBytes[]) {
    this.set = set
    this.#list = list
    this.#bytes = bytes
    list.hold()
    for (const pack of bytes) pack.hold()
  }

  hold(): void {
    this.#holders++
  }

  drop(): void {
    if (--this.#holders > 0) return
    for (const pack of this.#bytes) pack.drop()
    this.#list.drop()
  }
}

/** Readers see classes 0 and 1 alike. */
const searchClass = (pack: SnapshotPack): number => Math.max(1, pack.class)

const packOf = (row: PackRow, where: SnapshotPack['where']): SnapshotPack => ({
  id: row.id,
  sha256: ownBytes(row.sha256),
  sha1: ownBytes(row.sha1),
  class: row.state === 'garbage' ? 3 : row.class,
  bytes: row.bytes,
  objects: row.objects,
  roots: row.roots && ownBytes(row.roots),
  external: row.external,
  collected: row.source === 'gc',
  part: row.part,
  updateId: row.updateId,
  sideFiles: row.sideFiles && {
    midx: ownBytes(row.sideFiles.midx),
    bitmap: ownBytes(row.sideFiles.bitmap),
    graph: ownBytes(row.sideFiles.graph),
  },
  where,
})
