import { crc32, deflateSync } from 'node:zlib'
import { ProtocolError } from '../errors.js'
import { checkObject } from '../objects/check.js'
import { hashObject } from '../objects/hash.js'
import { oidFromBytes } from '../oid.js'
import type { Progress } from '../ports.js'
import { objectTypeNames, objectTypes, type ObjectType } from '../types.js'
import { anyType, connectReferences, type Connections, type SpecialBlob } from './connect.js'
import { applyDelta, deltaSizes } from './delta.js'
import { DeltaStack } from './delta-stack.js'
import {
  decodeEntryHeader,
  deflatedBound,
  encodeEntryHeader,
  inflateEntry,
  maxHeaderBytes,
  minEntryBytes,
  packHeaderBytes,
  trailerBytes,
  type EntryHeader,
  type InflatedEntry,
} from './entry.js'
import { ForwardWindow } from './forward-window.js'
import { HeldEntries } from './held-entries.js'
import { minSharedCount, objectWork, SharedProgress, type IndexPart, type IndexPartResult } from './index-part.js'
import { checkObjectSize, InflationMeter, tooLarge, type IndexLimits } from './index-limits.js'
import { noEntry, PackColumns } from './pack-columns.js'
import { refDeltaBit, type ByteSource, type PackIndex } from './pack-index.js'
import { ReferenceSet } from './reference-set.js'
import { inflateSimple, maxSimpleBytes } from './simple-inflate.js'
import { compareOids, sortOids } from './sort-oids.js'

export type { Connections, SpecialBlob } from './connect.js'
export type { IndexLimits } from './index-limits.js'
export type { IndexPart, IndexPartResult } from './index-part.js'
export type { ByteSource, PackIndex } from './pack-index.js'

export interface IndexerHooks {
  /** Every blob of up to 1,024 bytes; the bytes are valid during the call. */
  inspectBlob?(data: Uint8Array, oid: Uint8Array): void
  /** Every blob of more than `largeBlobBytes`; the bytes are valid during the call. */
  inspectLargeBlob?(data: Uint8Array, oid: Uint8Array): void
}

const smallBlobBytes = 1024
/** Work between two yields, in bytes of content: about a millisecond. */
const sliceWork = 128 * 1024

/** More than this no entry may take, however it was deflated. */
const mostBytes = ({ headerBytes, size }: Pick<EntryHeader, 'headerBytes' | 'size'>): number => 2 * (headerBytes + deflatedBound(size)) + 2 ** 20

const cutOff = (): ProtocolError => new ProtocolError('bad-pack', 'pack ends early')

const specialKinds = ['gitmodules', 'gitattributes'] as const

/**
 * Indexes a pack that a stranger sent, checking everything it can know by itself. In order:
 *
 *     scan          once over the pack: every entry inflated, so that all are known by place and size
 *     resolve       whole objects named, checked, their references collected; then the same for their deltas, from the bases down
 *     share, split, takePart   while they go on: another thread names what was scanned, then does a part of `resolve`
 *     missingBases, addBase, resolve     while a thin pack lacks bases
 *     finish, connect
 *
 * Synchronous; `scan` and `resolve` yield about every millisecond so that their driver can let other work run. One big object is one step.
 * A pack may be scanned while it arrives: `scan` yields 'more' when it can go on only once its source has grown.
 * After an error the indexer is of no further use.
 */
export class PackIndexer {
  readonly #limits: IndexLimits
  readonly #hooks: IndexerHooks
  readonly #meter: InflationMeter
  readonly #references: ReferenceSet
  /** By kind: the blobs that trees call .gitmodules and .gitattributes. */
  readonly #special: readonly [ReferenceSet, ReferenceSet]
  readonly #bases: ReferenceSet
  #columns = new PackColumns(0)
  #held = new HeldEntries(0, 0)
  /** By number of a REF_DELTA base: its first delta until the base is there. */
  #waiting: Int32Array = new Int32Array(0)
  /** Objects the pack itself states. */
  #stated = 0
  #deltas = 0
  #resolved = 0
  #nextRoot = 0
  /** This thread's roots end here, for now. */
  #rootsEnd = 0
  /** Two threads take roots. */
  #isSplit = false
  /** Of a pack that another thread may help with. */
  #progress: SharedProgress | undefined
  readonly #scratch = Buffer.allocUnsafeSlow(maxSimpleBytes)
  /** Where another thread stands behind the scan. */
  #followed = 0
  /** Where the next entry would stand. */
  #end = 0

  constructor(limits: IndexLimits, hooks: IndexerHooks = {}) {
    this.#limits = limits
    this.#hooks = hooks
    this.#meter = new InflationMeter(limits)
    // A push of few objects may refer to a great many that are there already.
    this.#references = new ReferenceSet(2 * limits.maxObjects)
    this.#special = [new ReferenceSet(limits.maxObjects), new ReferenceSet(limits.maxObjects)]
    this.#bases = new ReferenceSet(limits.maxObjects)
  }

  /** Bases that completed a thin pack. */
  get addedBases(): number {
    return this.#columns.count - this.#stated
  }

  /** Objects of the pack, added bases included. */
  get objects(): number {
    return this.#columns.count
  }

  /** Where the entries end, and so where the next base is to be written. */
  get end(): number {
    return this.#end
  }

  /**
   * First pass, over the whole of `source`: signature, count, entries, limits, and the trailer with nothing behind it.
   * @throws ProtocolError `bad-pack`, `bad-object`, `too-large`
   */
  *scan(source: ByteSource): Generator<Progress | 'more', void> {
    const window = new ForwardWindow(source)
    while (!window.whole && window.end < packHeaderBytes) yield 'more'
    const count = this.#decodeHeader(source)
    window.hold(0, packHeaderBytes)
    // What a stranger states costs addresses; memory is only what bytes stand behind.
    const shared = count >= minSharedCount
    this.#columns = new PackColumns(shared ? count : Math.min(count, Math.ceil(source.length / minEntryBytes)))
    this.#held = new HeldEntries(count, this.#limits.cacheBytes / 2, { shared })
    if (shared) this.#progress = new SharedProgress()
    this.#stated = count
    this.#end = packHeaderBytes
    let work = 0
    for (let rank = 0; rank < count; rank++) {
      while (!window.whole && !this.#hasNext(window)) {
        if (this.#progress) this.#progress.scanned = rank
        yield 'more'
      }
      work += objectWork + this.#scanEntry(window)
      if (work < sliceWork) continue
      work = 0
      if (this.#progress) this.#progress.scanned = rank + 1
      yield { title: 'Indexing objects', done: rank + 1, total: count }
    }
    while (!window.whole) yield 'more'
    const { end } = window
    if (this.#end !== end) throw new ProtocolError('bad-pack', `pack has ${end - this.#end} bytes after the last of its ${count} objects`)
    if (!window.sha1().equals(source.read(end, end + trailerBytes))) throw new ProtocolError('bad-pack', 'pack trailer does not match its content')
    this.#linkDeltas()
    yield { title: 'Indexing objects', done: count, total: count }
  }

  /**
   * Second pass: names and checks every whole object, and resolves every delta that leads to a base at hand. Goes on where it ended when
   * called again after `addBase`. `source` has the entries that `addBase` made where they were said to stand.
   * @throws ProtocolError `bad-pack`, `bad-object`, `too-large`
   */
  *resolve(source: ByteSource): Generator<Progress, void> {
    const columns = this.#columns
    const { maxDeltaDepth, maxObjectBytes, cacheBytes } = this.#limits
    const patch = (rank: number, base: Uint8Array): Buffer => {
      const data = applyDelta(base, this.#inflate(source, rank), maxObjectBytes)
      this.#meter.add(data.length)
      return data
    }
    const stack = new DeltaStack(columns, cacheBytes / 2, { inflate: (rank) => this.#inflate(source, rank), patch })
    let work = 0
    for (; this.#nextRoot < this.#rootsEnd || this.#takeRoots(); this.#nextRoot++) {
      const root = this.#nextRoot
      const type = columns.types[root]! as ObjectType
      if (columns.bases[root] !== noEntry || type > 4) continue
      const data = this.#settleWhole(source, root, type)
      work += objectWork + (data?.length ?? 0)
      this.#adoptWaiting(root)
      if (work >= sliceWork) {
        work = 0
        yield { title: 'Resolving deltas', done: this.#resolved, total: this.#deltas }
      }
      if (columns.firstChild[root] === noEntry) continue
      stack.push(root, data)
      while (stack.depth > 0) {
        const parent = stack.top
        const child = columns.firstChild[parent]!
        if (child === noEntry) {
          stack.pop()
          continue
        }
        columns.firstChild[parent] = columns.nextChild[child]!
        try {
          if (stack.depth > maxDeltaDepth) throw new ProtocolError('too-large', `ends a chain of more than ${maxDeltaDepth} deltas`)
          checkObjectSize(this.#limits, type, columns.sizes[child]!)
          const data = patch(child, stack.topData())
          columns.types[child] = columns.types[child] === 7 ? type | refDeltaBit : type
          this.#settle(child, type, data)
          this.#resolved += 1
          work += objectWork + data.length
          this.#adoptWaiting(child)
          if (columns.firstChild[child] !== noEntry) stack.push(child, data)
        } catch (error) {
          throw this.#placed(error, child)
        }
        if (work < sliceWork) continue
        work = 0
        yield { title: 'Resolving deltas', done: this.#resolved, total: this.#deltas }
      }
    }
    if (this.#deltas > 0) yield { title: 'Resolving deltas', done: this.#resolved, total: this.#deltas }
  }

  /** What another thread needs to help. Undefined: the pack is small, or `scan` has not come to its first object. */
  share(): IndexPart | undefined {
    if (!this.#progress) return undefined
    const limits = { ...this.#limits, cacheBytes: this.#limits.cacheBytes / 2 }
    return { limits, stated: this.#stated, progress: this.#progress.buffer, columns: this.#columns.state(), held: this.#held.state() }
  }

  /**
   * For a pack that was shared, between `scan` and `resolve`: from now on both threads take roots, with their deltas, as they get done.
   * False: the other does nothing but end, because deltas find their bases by name; then its part has to be taken in before `resolve`.
   */
  split(): boolean {
    this.#isSplit = this.#bases.count === 0
    this.#progress?.finish({ next: this.#isSplit ? 0 : this.#stated, deltas: this.#deltas, end: this.#end })
    return this.#isSplit
  }

  /** An indexer that helps: to be given to `follow`, then to `resolve`, then asked for its `result`. */
  static ofPart({ limits, stated, progress, columns, held }: IndexPart, hooks: IndexerHooks = {}): PackIndexer {
    const indexer = new PackIndexer(limits, hooks)
    indexer.#columns = new PackColumns(stated, { ...columns, count: stated })
    indexer.#held = new HeldEntries(stated, 0, { state: held })
    indexer.#stated = stated
    indexer.#isSplit = true
    indexer.#progress = new SharedProgress(progress)
    return indexer
  }

  /**
   * Names and checks whole objects while the other thread scans on, as far as what they inflated to is held. Yields 'more' when it has come
   * up with the scan, and ends soon after that has.
   * @throws ProtocolError `bad-object`
   */
  *follow(): Generator<'more' | undefined, void> {
    const { types, bases } = this.#columns
    const progress = this.#progress!
    let work = 0
    for (let finished = progress.finished(); !finished; finished = progress.finished()) {
      const rank = this.#followed
      if (rank === progress.scanned) {
        yield 'more'
        continue
      }
      const type = types[rank]! as ObjectType
      const data = bases[rank] === noEntry && type <= 4 ? this.#held.find(rank) : undefined
      if (data && this.#columns.claim(rank)) {
        this.#settlePlaced(rank, type, data)
        work += objectWork + data.length
      }
      this.#followed += 1
      if (work < sliceWork) continue
      work = 0
      yield undefined
    }
    const { deltas, end } = progress.finished()!
    this.#deltas = deltas
    this.#end = end
  }

  /** Resolves when there is more to `follow`. */
  async scannedMore(): Promise<void> {
    await this.#progress?.changed(this.#followed)
  }

  /** What a part came to. */
  result(): IndexPartResult {
    return {
      resolved: this.#resolved,
      references: Uint8Array.from(this.#references.records()),
      special: [Uint8Array.from(this.#special[0].records()), Uint8Array.from(this.#special[1].records())],
    }
  }

  /** Takes in what the other thread did. @throws ProtocolError `too-large` */
  takePart({ resolved, references, special }: IndexPartResult): void {
    this.#resolved += resolved
    this.#references.addRecords(references)
    this.#special.forEach((blobs, kind) => blobs.addRecords(special[kind]!))
  }

  /**
   * Distinct names of REF_DELTA bases that are not at hand, in the order their first deltas stand in the pack. Copies.
   * Some may be deltas of the pack themselves, whose own base comes earlier in this list. So go through it in order, pass over what is
   * not to be had, and resolve after each `addBase`: that takes no base which has turned up meanwhile. `finish` refuses what is left.
   */
  missingBases(): Buffer[] {
    const missing: Buffer[] = []
    for (let number = 0; number < this.#bases.count; number++) {
      if (this.#waiting[number] !== noEntry) missing.push(Buffer.from(this.#bases.oidOf(number)))
    }
    return missing
  }

  /**
   * Completes a thin pack by one base: returns the entry to be written at `offset`, which is where the entries end so far (first where
   * the trailer stood). Empty, and nothing to do, when no delta waits for this base any more. `resolve` goes on once it is written.
   * @throws ProtocolError `corrupt` when the data is not the object of that name
   */
  addBase(oid: Uint8Array, type: ObjectType, data: Uint8Array, offset: number): Buffer {
    const number = this.#bases.find(oid, 0)
    if (number === -1 || this.#waiting[number] === noEntry) return Buffer.alloc(0)
    if (offset !== this.#end) throw new RangeError(`the next entry stands at ${this.#end}, not at ${offset}`)
    if (!hashObject(type, data).equals(oid)) throw new ProtocolError('corrupt', `object ${oidFromBytes(oid)} does not read back as itself`)
    const entry = Buffer.concat([encodeEntryHeader(type, data.length), deflateSync(data)])
    const columns = this.#columns
    const rank = columns.append()
    columns.offsets[rank] = offset
    columns.sizes[rank] = data.length
    columns.types[rank] = type
    columns.bases[rank] = noEntry
    columns.crcs[rank] = crc32(entry)
    columns.oids.set(oid, rank * 20)
    this.#end += entry.length
    return entry
  }

  /**
   * The index of the whole pack of `packBytes` bytes that ends with `packSha1`.
   * @throws ProtocolError `bad-pack` when a delta never found its base, or an object is there twice
   */
  finish(packSha1: Uint8Array, packBytes: number): PackIndex {
    const columns = this.#columns
    const { count } = columns
    if (packBytes !== this.#end + trailerBytes) throw new RangeError(`the pack has ${this.#end + trailerBytes} bytes, not ${packBytes}`)
    if (this.#resolved !== this.#deltas) throw this.#unresolved()
    const rankOfRow = sortOids(columns.oids, count)
    const rowOfRank = new Uint32Array(count)
    for (let row = 0; row < count; row++) {
      const rank = rankOfRow[row]!
      rowOfRank[rank] = row
      if (row > 0 && compareOids(columns.oids, rankOfRow[row - 1]! * 20, columns.oids, rank * 20) === 0) {
        throw new ProtocolError('bad-pack', `object ${oidFromBytes(columns.oids, rank * 20)} is in the pack twice`)
      }
    }
    return {
      count,
      packBytes,
      packSha1: Uint8Array.from(packSha1),
      offsets: columns.offsets.subarray(0, count),
      sizes: columns.sizes.subarray(0, count),
      types: columns.types.subarray(0, count),
      bases: columns.bases.subarray(0, count),
      crcs: columns.crcs.subarray(0, count),
      oids: columns.oids.subarray(0, count * 20),
      rankOfRow,
      rowOfRank,
    }
  }

  /**
   * What the pack's objects refer to, given the index that `finish` made.
   * @throws ProtocolError `bad-object` when an object is not of the type it is referred to as
   */
  connect(index: PackIndex): Connections {
    const special: SpecialBlob[] = []
    this.#special.forEach((blobs, kind) => {
      for (let number = 0; number < blobs.count; number++) special.push({ kind: specialKinds[kind]!, oid: Uint8Array.from(blobs.oidOf(number)) })
    })
    return { ...connectReferences(index, this.#references, this.addedBases), special }
  }

  /** Goes on to more roots, if there are any for this thread. */
  #takeRoots(): boolean {
    const roots = this.#isSplit ? this.#progress?.takeRoots(this.#stated) : undefined
    if (this.#isSplit && !roots) {
      this.#isSplit = false
      this.#nextRoot = this.#stated
    }
    if (roots) this.#nextRoot = roots.from
    this.#rootsEnd = roots?.to ?? this.#columns.count
    return this.#nextRoot < this.#rootsEnd
  }

  #decodeHeader(source: ByteSource): number {
    if (source.length < packHeaderBytes + trailerBytes) throw new ProtocolError('bad-pack', 'pack ends early')
    const header = Buffer.from(source.read(0, packHeaderBytes))
    if (header.toString('latin1', 0, 4) !== 'PACK') throw new ProtocolError('bad-pack', 'this is not a pack')
    const version = header.readUInt32BE(4)
    if (version !== 2 && version !== 3) throw new ProtocolError('bad-pack', `pack version ${version} is not supported`)
    const count = header.readUInt32BE(8)
    const { maxObjects } = this.#limits
    if (count > maxObjects) throw new ProtocolError('too-large', `pack of ${count} objects is over the limit of ${maxObjects}`)
    if ((source.whole ?? true) && count * minEntryBytes > source.length - packHeaderBytes - trailerBytes) {
      throw new ProtocolError('bad-pack', `pack ends early: ${source.length} bytes are too few for its ${count} objects`)
    }
    return count
  }

  /** Whether as much of a growing pack is there as the next entry may take. Of one that will be refused its header is enough. */
  #hasNext(window: ForwardWindow): boolean {
    const offset = this.#end
    window.hold(offset, maxHeaderBytes)
    const there = window.end - offset
    if (there < maxHeaderBytes) return false
    const header = decodeEntryHeader(window.bytes, offset - window.from, offset)
    return !header || header.size > this.#limits.maxObjectBytes || there > mostBytes(header)
  }

  /** Takes in the entry at `#end`. Returns the bytes it inflated to. */
  #scanEntry(window: ForwardWindow): number {
    const columns = this.#columns
    const { maxObjectBytes } = this.#limits
    const rank = columns.append()
    const offset = this.#end
    try {
      window.hold(offset, maxHeaderBytes)
      const header = decodeEntryHeader(window.bytes, offset - window.from, offset)
      if (!header) throw cutOff()
      const { type, size } = header
      if (type <= 4) checkObjectSize(this.#limits, type as ObjectType, size)
      else if (size > maxObjectBytes) throw tooLarge('delta', size, maxObjectBytes)
      columns.offsets[rank] = offset
      columns.types[rank] = type
      columns.bases[rank] = this.#baseOf(header, rank)
      const { data, consumed } = this.#inflateNext(window, offset, header)
      const entryBytes = header.headerBytes + consumed
      columns.crcs[rank] = crc32(window.bytes.subarray(offset - window.from, offset - window.from + entryBytes))
      this.#end = offset + entryBytes
      this.#meter.add(size)
      this.#meter.checkRatio(this.#end)
      this.#held.hold(rank, data)
      if (type <= 4) {
        columns.sizes[rank] = size
      } else {
        const { result } = deltaSizes(data)
        if (result > maxObjectBytes) throw tooLarge('object', result, maxObjectBytes)
        columns.sizes[rank] = result
        this.#deltas += 1
      }
      return size
    } catch (error) {
      throw this.#placed(error, rank)
    }
  }

  /** What `bases` says before the object is known. */
  #baseOf(header: EntryHeader, rank: number): number {
    if (header.baseOid) return -2 - this.#bases.add(header.baseOid, 0, anyType)
    if (header.baseOffset === undefined) return noEntry
    const base = this.#columns.rankAt(header.baseOffset)
    if (base === -1 || base === rank) throw new ProtocolError('bad-pack', `is a delta of byte ${header.baseOffset}, where no object begins`)
    return base
  }

  /** The entry inflated; its data is valid until the next. */
  #inflateNext(window: ForwardWindow, offset: number, { headerBytes, size }: EntryHeader): InflatedEntry {
    const bound = headerBytes + deflatedBound(size)
    const most = mostBytes({ headerBytes, size })
    for (let need = bound; ; need = 2 * (window.to - offset)) {
      window.hold(offset, need)
      const consumed = inflateSimple(window.bytes, offset - window.from + headerBytes, window.to - window.from, size, this.#scratch)
      if (consumed > 0) return { data: this.#scratch.subarray(0, size), consumed }
      const inflated = inflateEntry(window.bytes, offset - window.from + headerBytes, size)
      if (inflated) return inflated
      if (window.to === window.end) throw cutOff()
      if (window.to - offset > most) throw new ProtocolError('bad-pack', `takes far more than the ${size} bytes it inflates to`)
    }
  }

  /** Makes the lists of children, each in pack order. */
  #linkDeltas(): void {
    const columns = this.#columns
    this.#waiting = new Int32Array(this.#bases.count).fill(noEntry)
    for (let rank = columns.count - 1; rank >= 0; rank--) {
      const base = columns.bases[rank]!
      if (base >= 0) columns.adopt(rank, base)
      if (base >= noEntry) continue
      columns.nextChild[rank] = this.#waiting[-2 - base]!
      this.#waiting[-2 - base] = rank
    }
  }

  /** Gives an object that now has a name the REF_DELTAs that wait for it. */
  #adoptWaiting(rank: number): void {
    if (this.#bases.count === 0) return
    const columns = this.#columns
    const number = this.#bases.find(columns.oids, rank * 20)
    if (number === -1) return
    let child = this.#waiting[number]!
    this.#waiting[number] = noEntry
    while (child !== noEntry) {
      const next = columns.nextChild[child]!
      columns.bases[child] = rank
      columns.adopt(child, rank)
      child = next
    }
  }

  /** What the entry at a rank inflates to: the object, or its delta. */
  #inflate(source: ByteSource, rank: number): Buffer {
    const held = this.#held.find(rank)
    if (held) return held
    const offset = this.#columns.offsets[rank]!
    const end = rank + 1 < this.#columns.count ? this.#columns.offsets[rank + 1]! : this.#end
    const bytes = source.read(offset, end)
    const header = decodeEntryHeader(bytes, 0, offset)
    const inflated = header && inflateEntry(bytes, header.headerBytes, header.size)
    if (!inflated) throw new ProtocolError('corrupt', 'does not read back')
    return inflated.data
  }

  /** The object, named and checked; undefined for a base that was added, and for what another thread names. */
  #settleWhole(source: ByteSource, rank: number, type: ObjectType): Buffer | undefined {
    if (rank >= this.#stated || !this.#columns.claim(rank)) return undefined
    const data = this.#inflatePlaced(source, rank)
    this.#settlePlaced(rank, type, data)
    return data
  }

  #inflatePlaced(source: ByteSource, rank: number): Buffer {
    try {
      return this.#inflate(source, rank)
    } catch (error) {
      throw this.#placed(error, rank)
    }
  }

  #settlePlaced(rank: number, type: ObjectType, data: Buffer): void {
    try {
      this.#settle(rank, type, data)
    } catch (error) {
      throw this.#placed(error, rank)
    }
  }

  /** Names and checks an object of the pack while its bytes are at hand. */
  #settle(rank: number, type: ObjectType, data: Buffer): void {
    const oid = hashObject(type, data)
    this.#columns.oids.set(oid, rank * 20)
    checkObject(type, data, this.#refer, this.#noteSpecial)
    if (type !== objectTypes.blob) return
    if (data.length <= smallBlobBytes) this.#hooks.inspectBlob?.(data, oid)
    else if (data.length > this.#limits.largeBlobBytes) this.#hooks.inspectLargeBlob?.(data, oid)
  }

  readonly #refer = (bytes: Uint8Array, offset: number, expect: number): void => {
    this.#references.add(bytes, offset, expect)
  }

  readonly #noteSpecial = (kind: SpecialBlob['kind'], bytes: Uint8Array, offset: number): void => {
    this.#special[specialKinds.indexOf(kind)]!.add(bytes, offset, anyType)
  }

  #unresolved(): ProtocolError {
    const columns = this.#columns
    const rank = columns.bases.findIndex((base) => base < noEntry)
    const base = oidFromBytes(this.#bases.oidOf(-2 - columns.bases[rank]!))
    return new ProtocolError('bad-pack', `object ${rank + 1} of ${this.#stated} is a delta of ${base}, which is not to be had`)
  }

  /** Says which object an error is about: by its name where the object is at fault, else by its place. */
  #placed(error: unknown, rank: number): unknown {
    if (!(error instanceof ProtocolError)) return error
    const type = objectTypeNames[(this.#columns.types[rank]! & 7) as ObjectType]
    const name = error.code === 'bad-object' ? `${type} ${oidFromBytes(this.#columns.oids, rank * 20)}` : `object ${rank + 1} of ${this.#stated}`
    return new ProtocolError(error.code, `${name}: ${error.message}`, { cause: error })
  }
}
