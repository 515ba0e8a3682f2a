import { packOf, rankOf, type DirectView, type Entry, type FindUse, type PackView, type RefTable } from '../../protocol/ports.js'
import { ObjectTable } from '../../protocol/pack/object-table.js'
import { objectTypes, type ObjectType, type Oid } from '../../protocol/types.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { PackPart, SideFileNames } from '../db/packs.js'
import type { RepoVersions } from '../db/versions.js'
import { findInline, InlineReader, tableOfNumber, type InlineHit, type InlineIndex } from './inline-index.js'
import type { DirectBytes, HeldBytes, PackBytes, PackFiles } from './pack-file.js'
import { RefList, type SharedRefs } from './ref-list.js'
import { subsetOf } from './pack-subset.js'
import { leasesOf, type PackFetch, type PackLeases } from './snapshot-leases.js'

export type SnapshotVersions = Pick<RepoVersions, 'refsVer' | 'packsVer' | 'gcEpoch' | 'purgeEpoch'>

/** A pack of a snapshot. Its place in `packs` is its ordinal. */
export interface SnapshotPack {
  readonly id: number
  readonly sha256: Uint8Array
  /** What ends it: git names it by this. */
  readonly sha1: Uint8Array
  /** Visibility: 0 heads and tags, 1 other visible refs, 2 hidden refs, 3 garbage. */
  readonly class: 0 | 1 | 2 | 3
  readonly bytes: number
  readonly objects: number
  /** Sorted oids that nothing in the pack refers to, 20 bytes each; null: too many of them. */
  readonly roots: Uint8Array | null
  /** True: it refers to objects outside itself. */
  readonly external: boolean
  /** A collection made it. */
  readonly collected: boolean
  readonly part: PackPart | null
  readonly updateId: string
  /** Files of git's own about this pack of history and the blobs beside it. */
  readonly sideFiles: SideFileNames | null
  readonly where: 'inline' | 'file' | 'remote'
}

/** All snapshots between two purges of a repository: once it is over, nothing more is read through them. */
export interface PurgeEra {
  over: boolean
}

/** One repository, frozen: what `PackView` promises, and what it was made of. */
export interface Snapshot extends PackView {
  readonly repoId: number
  readonly versions: SnapshotVersions
  readonly packs: readonly SnapshotPack[]
  /** @throws ProtocolError `cancelled` once something was purged from the repository: what goes on may be what had to go */
  checkEra(): void
  /** Keeps what it pins until what comes back is called as well: for work that may outlive who opened it. */
  retain(): () => void
  /** What is known of the objects of a pack. */
  tableOf(pack: number): ObjectTable
  /** Entry of an object in one pack, or -1. */
  findIn(pack: number, oid: Uint8Array): Entry
  /** The commits that may be relied on and whose oid begins with these hex digits, sorted; no more than two, which is one too many. */
  commitsFrom(prefix: string): readonly Oid[]
  /** The same repository as if it had these packs alone, given by ascending ordinal. Valid until this snapshot is released, and never released itself. */
  only(packs: readonly number[]): Snapshot
  /** The same, which finds what is in these packs there, wherever else it is. They have to be ones that may be relied on. Valid until `release`. */
  searching(first: readonly number[]): Snapshot
  /** For another thread, which makes a PackView of it with `snapshotFromMessage`. Valid until `release`. */
  toMessage(): SnapshotMessage
  /** For that other thread. Undefined: all files are here for good. */
  readonly fetch: PackFetch | undefined
  /**
   * Has all packs here that a walk may need, at once; else each comes when it is first read. Undefined: they are.
   * @throws as `PackLeasing.lease`
   */
  fetchPacks(signal?: AbortSignal): Promise<void> | undefined
  /** A whole pack, from the first byte to the last. A chunk is valid until the next. Undefined: it is inline, `read` it. */
  streamPack(pack: number, signal?: AbortSignal): AsyncIterable<Uint8Array> | undefined
}

/** A pack of the BlobStore, open. */
export interface StoredPack {
  readonly table: ObjectTable
  readonly bytes: PackBytes
  readonly credit: boolean
  /** Null: only this thread can read it. */
  readonly path: string | null
  /** On the thread that leases packs. */
  readonly file?: HeldBytes
}

/** All packs of one moment. Ordinals: stored packs in the order they are searched, then inline ones, oldest first. */
export interface PackSet {
  readonly packs: readonly SnapshotPack[]
  /** Those that may be relied on come first. */
  readonly stored: readonly StoredPack[]
  readonly inline: InlineIndex
  /** Inline number of each ordinal after the stored packs. */
  readonly numbers: Int32Array
  /** Ordinal of each inline number, -1: not in this set. */
  readonly ordinals: Int32Array
  /** By inline number: 1 when it may be relied on. */
  readonly credit: Uint8Array
  /** Stored packs that may be relied on. */
  readonly creditStored: number
  /** Every pack may be relied on: nothing has to be searched twice. */
  readonly allCredit: boolean
  /** Ordinals of packs that are searched before all others; not there: none. */
  readonly first?: readonly number[]
}

/** Cloneable: shared memory, paths, numbers. Shared memory must not go into a transfer list. */
export interface SnapshotMessage {
  readonly repoId: number
  readonly versions: SnapshotVersions
  readonly refs: SharedRefs
  readonly stored: readonly {
    readonly sha256: Uint8Array
    readonly table: Uint8Array
    readonly packBytes: number
    readonly credit: boolean
    readonly path: string | null
  }[]
  /** Files are to be asked for before they are read. */
  readonly leased: boolean
  readonly inline: Omit<InlineIndex, 'tables'>
  readonly numbers: Int32Array
  readonly ordinals: Int32Array
  readonly credit: Uint8Array
  readonly creditStored: number
  readonly allCredit: boolean
  readonly first: readonly number[]
}

const high = 2 ** 32

/** Lookups over a PackSet. All that a thread needs of a repository. */
export class PackSetView implements DirectView {
  readonly refs: RefTable
  readonly packCount: number
  readonly #set: PackSet
  readonly #reader: InlineReader
  readonly #release: () => void
  readonly #fetch: PackFetch | undefined
  readonly #storedCount: number
  readonly #hit: InlineHit = { number: 0, row: 0 }

  constructor(refs: RefTable, set: PackSet, reader: InlineReader, release: () => void, fetch?: PackFetch) {
    this.refs = refs
    this.#set = set
    this.#reader = reader
    this.#release = release
    this.#fetch = fetch
    this.#storedCount = set.stored.length
    this.packCount = this.#storedCount + set.numbers.length
  }

  objectsIn(pack: number): number {
    return this.tableOf(pack).count
  }

  /** What may be relied on is found first, whatever it is wanted for. */
  find(oid: Uint8Array, use: FindUse): Entry {
    for (const pack of this.#set.first ?? []) {
      const entry = this.findIn(pack, oid)
      if (entry !== -1) return entry
    }
    const entry = this.#search(oid, true)
    return entry !== -1 || use === 'credit' || this.#set.allCredit ? entry : this.#search(oid, false)
  }

  #search(oid: Uint8Array, creditOnly: boolean): Entry {
    const { inline, ordinals, credit, stored, creditStored } = this.#set
    const hit = this.#hit
    if (findInline(inline, ordinals, credit, oid, creditOnly, hit)) {
      return ordinals[hit.number]! * high + tableOfNumber(inline, hit.number).rankOfRow(hit.row)
    }
    const count = creditOnly ? creditStored : stored.length
    for (let ordinal = 0; ordinal < count; ordinal++) {
      const { table } = stored[ordinal]!
      const row = table.findRow(oid)
      if (row !== -1) return ordinal * high + table.rankOfRow(row)
    }
    return -1
  }

  /** The same in one pack alone. */
  findIn(pack: number, oid: Uint8Array): Entry {
    const table = this.tableOf(pack)
    const row = table.findRow(oid)
    return row === -1 ? -1 : pack * high + table.rankOfRow(row)
  }

  commitsFrom(prefix: string): readonly Oid[] {
    const lowest = Buffer.from(prefix.padEnd(40, '0'), 'hex')
    const { creditStored, numbers, credit } = this.#set
    const found = new Set<Oid>()
    for (let pack = 0; pack < this.packCount && found.size < 2; pack++) {
      const mayCount = pack < this.#storedCount ? pack < creditStored : credit[numbers[pack - this.#storedCount]!] === 1
      if (mayCount) collectCommits(this.tableOf(pack), lowest, prefix, found)
    }
    return [...found].toSorted()
  }

  oidOf(entry: Entry, into: Uint8Array): void {
    this.tableOf(packOf(entry)).oidOfRank(rankOf(entry), into)
  }

  typeOf(entry: Entry): ObjectType {
    return this.tableOf(packOf(entry)).typeOf(rankOf(entry))
  }

  sizeOf(entry: Entry): number {
    return this.tableOf(packOf(entry)).sizeOf(rankOf(entry))
  }

  offsetOf(entry: Entry): number {
    return this.tableOf(packOf(entry)).offsetOf(rankOf(entry))
  }

  endOf(entry: Entry): number {
    return this.tableOf(packOf(entry)).endOf(rankOf(entry))
  }

  baseOf(entry: Entry): Entry {
    const pack = packOf(entry)
    const base = this.tableOf(pack).baseOf(rankOf(entry))
    return base === -1 ? -1 : pack * high + base
  }

  isRefDelta(entry: Entry): boolean {
    return this.tableOf(packOf(entry)).isRefDelta(rankOf(entry))
  }

  read(pack: number, from: number, to: number): Promise<Uint8Array> {
    if (pack < this.#storedCount) {
      const { bytes } = this.#set.stored[pack]!
      const coming = this.#fetch?.need(pack)
      return coming ? coming.then(() => bytes.read(from, to)) : bytes.read(from, to)
    }
    return this.#reader.read(this.#set.inline, this.#set.numbers[pack - this.#storedCount]!, from, to)
  }

  async readInto(pack: number, from: number, into: Uint8Array): Promise<void> {
    const bytes = pack < this.#storedCount ? (this.#set.stored[pack]!.bytes as PackBytes & Partial<DirectBytes>) : undefined
    if (!bytes?.readInto) return into.set(await this.read(pack, from, from + into.length))
    await this.#fetch?.need(pack)
    await bytes.readInto(from, into)
  }

  release(): void {
    this.#release()
  }

  tableOf(pack: number): ObjectTable {
    if (pack < this.#storedCount) return this.#set.stored[pack]!.table
    return tableOfNumber(this.#set.inline, this.#set.numbers[pack - this.#storedCount]!)
  }
}

/** Adds commits of one table until there are two. */
function collectCommits(table: ObjectTable, lowest: Uint8Array, prefix: string, found: Set<Oid>): void {
  for (let row = table.firstRowFrom(lowest); row < table.count && found.size < 2; row++) {
    const oid = oidFromBytes(table.bytes, table.oidsAt(row))
    if (!oid.startsWith(prefix)) return
    if (table.typeOf(table.rankOfRow(row)) === objectTypes.commit) found.add(oid)
  }
}

export interface SnapshotParts {
  readonly repoId: number
  readonly versions: SnapshotVersions
  readonly refs: RefList
  readonly set: PackSet
  readonly reader: InlineReader
  readonly release: () => void
  /** Where files can be taken away. The owner of the snapshot releases them. */
  readonly leases?: PackLeases | undefined
  /** Undefined: nothing is pinned. */
  readonly retain?: () => () => void
  /** Undefined: nothing is ever purged. */
  readonly era?: PurgeEra
}

export class RepoSnapshot extends PackSetView implements Snapshot {
  readonly repoId: number
  readonly versions: SnapshotVersions
  readonly packs: readonly SnapshotPack[]
  readonly #parts: SnapshotParts

  constructor(parts: SnapshotParts) {
    super(parts.refs, parts.set, parts.reader, parts.release, parts.leases)
    this.repoId = parts.repoId
    this.versions = parts.versions
    this.packs = parts.set.packs
    this.#parts = parts
  }

  retain(): () => void {
    return this.#parts.retain?.() ?? (() => undefined)
  }

  checkEra(): void {
    if (this.#parts.era?.over) throw new ProtocolError('cancelled', 'something was purged from the repository meanwhile')
  }

  override read(pack: number, from: number, to: number): Promise<Uint8Array> {
    if (this.#parts.era?.over) return Promise.reject(new ProtocolError('cancelled', 'something was purged from the repository meanwhile'))
    return super.read(pack, from, to)
  }

  override async readInto(pack: number, from: number, into: Uint8Array): Promise<void> {
    this.checkEra()
    await super.readInto(pack, from, into)
  }

  get fetch(): PackFetch | undefined {
    return this.#parts.leases
  }

  fetchPacks(signal?: AbortSignal): Promise<void> | undefined {
    const { set, leases } = this.#parts
    return leases?.needAll(
      [...set.stored.keys()].filter((pack) => set.packs[pack]!.class < 2),
      signal,
    )
  }

  streamPack(pack: number, signal?: AbortSignal): AsyncIterable<Uint8Array> | undefined {
    const { set, leases } = this.#parts
    if (pack >= set.stored.length) return undefined
    return leases ? leases.stream(pack, signal) : set.stored[pack]!.file!.stream()
  }

  searching(first: readonly number[]): Snapshot {
    return new RepoSnapshot({ ...this.#parts, set: { ...this.#parts.set, first }, release: () => undefined })
  }

  only(packs: readonly number[]): Snapshot {
    const { set, leases } = this.#parts
    return new RepoSnapshot({ ...this.#parts, set: subsetOf(set, packs), leases: leases && leasesOf(leases, packs), release: () => undefined })
  }

  toMessage(): SnapshotMessage {
    const { repoId, versions, refs, set } = this.#parts
    const { slots, seed, segments, places, path } = set.inline
    return {
      repoId,
      versions,
      refs: refs.shared,
      stored: set.stored.map(({ table, bytes, credit, path: file }, ordinal) => ({
        sha256: set.packs[ordinal]!.sha256,
        table: table.bytes,
        packBytes: bytes.bytes,
        credit,
        path: file,
      })),
      leased: this.#parts.leases !== undefined,
      inline: { slots, seed, segments: [...segments], places, path },
      numbers: set.numbers,
      ordinals: set.ordinals,
      credit: set.credit,
      creditStored: set.creditStored,
      allCredit: set.allCredit,
      first: set.first ?? [],
    }
  }
}

export interface MessageOptions {
  /** What the thread that leases packs is asked for before one is read. */
  readonly fetch?: PackFetch | undefined
  /** Bytes of a pack that is not a file here. */
  readonly openRemote?: (sha256: Uint8Array) => PackBytes
}

/** The view that a message was made of, in whatever thread. Closes what it opened on `release`; the pins are the sender's. */
export function snapshotFromMessage(message: SnapshotMessage, files: PackFiles, { openRemote, fetch }: MessageOptions = {}): PackSetView {
  const opened: { drop(): void }[] = []
  const stored = message.stored.map(({ sha256, table, packBytes, credit, path }): StoredPack => {
    const name = `pack ${Buffer.from(sha256).toString('hex')}`
    if (path === null) {
      if (!openRemote) throw new ProtocolError('corrupt', `${name} is no file here`)
      return { table: ObjectTable.openChecked(table), bytes: openRemote(sha256), credit, path }
    }
    const bytes = files.open({ name, bytes: packBytes, from: path })
    opened.push(bytes)
    return { table: ObjectTable.openChecked(table), bytes, credit, path }
  })
  const { numbers, ordinals, credit, creditStored, allCredit, first } = message
  const reader = new InlineReader(files)
  const set: PackSet = { packs: [], stored, inline: { ...message.inline, tables: [] }, numbers, ordinals, credit, creditStored, allCredit, first }
  const release = (): void => {
    for (const bytes of opened) bytes.drop()
    reader.close()
  }
  return new PackSetView(RefList.fromShared(message.refs), set, reader, release, fetch)
}
