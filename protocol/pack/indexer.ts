import { crc32, deflateSync } from 'node:zlib'
import { ProtocolError } from '../errors.js'
import { hashObject } from '../objects/hash.js'
import { oidFromBytes } from '../oid.js'
import type { Progress } from '../ports.js'
import type { ObjectType } from '../types.js'
import { CheckedObjects, type BlobHooks } from './checked-objects.js'
import type { Connections } from './connect.js'
import { applyDelta } from './delta.js'
import { DeltaStack } from './delta-stack.js'
import { decodeEntryHeader, encodeEntryHeader, inflateEntry, trailerBytes } from './entry.js'
import { HeldEntries } from './held-entries.js'
import { objectWork, SharedProgress, sliceWork, type IndexPart, type IndexPartResult } from './index-part.js'
import { checkObjectSize, InflationMeter, type IndexLimits } from './index-limits.js'
import { orderIndex } from './order-index.js'
import { noEntry, PackColumns } from './pack-columns.js'
import { refDeltaBit, type ByteSource, type PackIndex } from './pack-index.js'
import { PackScan } from './pack-scan.js'
import { placedError } from './placed-error.js'
import { WaitingDeltas } from './waiting-deltas.js'

export type { Connections, SpecialBlob } from './connect.js'
export type { IndexLimits } from './index-limits.js'
export type { IndexPart, IndexPartResult } from './index-part.js'
export type { ByteSource, PackIndex } from './pack-index.js'

export interface IndexerHooks extends BlobHooks {
  /** A pack that is large enough for another thread to help with, while its scan begins. */
  share?(part: IndexPart): void
}

/**
 * Indexes a pack that a stranger sent, checking everything it can know by itself. In order:
 *
 *     scan          once over the pack: every entry inflated, so that all are known by place and size
 *     resolve       whole objects named, checked, their references collected; then the same for their deltas, from the bases down
 *     split, takePart   another thread that the pack was shared with names what is scanned, then does a part of `resolve`
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
  readonly #checked: CheckedObjects
  #waiting = new WaitingDeltas()
  #columns = new PackColumns(0)
  #held = new HeldEntries(0, 0)
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
  /** Where another thread stands behind the scan. */
  #followed = 0
  /** Where the next entry would stand. */
  #end = 0

  constructor(limits: IndexLimits, hooks: IndexerHooks = {}) {
    this.#limits = limits
    this.#hooks = hooks
    this.#meter = new InflationMeter(limits)
    this.#checked = new CheckedObjects(limits, hooks)
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
    const scan = new PackScan({ limits: this.#limits, meter: this.#meter, onShared: (part) => this.#hooks.share?.(part) })
    yield* scan.run(source)
    this.#columns = scan.columns
    this.#held = scan.held
    this.#waiting = new WaitingDeltas(scan.bases, scan.waiting)
    this.#stated = scan.stated
    this.#deltas = scan.deltas
    this.#end = scan.end
    this.#progress = scan.progress
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
      this.#waiting.adopt(columns, root)
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
          this.#checked.add(columns.oids, child, type, data)
          this.#resolved += 1
          work += objectWork + data.length
          this.#waiting.adopt(columns, child)
          if (columns.firstChild[child] !== noEntry) stack.push(child, data)
        } catch (error) {
          throw placedError(error, columns, child, this.#stated)
        }
        if (work < sliceWork) continue
        work = 0
        yield { title: 'Resolving deltas', done: this.#resolved, total: this.#deltas }
      }
    }
    if (this.#deltas > 0) yield { title: 'Resolving deltas', done: this.#resolved, total: this.#deltas }
  }

  /**
   * For a pack that was shared, between `scan` and `resolve`: from now on both threads take roots, with their deltas, as they get done.
   * False: the other does nothing but end, because deltas find their bases by name; then its part has to be taken in before `resolve`.
   */
  split(): boolean {
    this.#isSplit = this.#waiting.isEmpty
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
        this.#settleHeld(rank, type, data)
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

  #settleHeld(rank: number, type: ObjectType, data: Buffer): void {
    try {
      this.#checked.add(this.#columns.oids, rank, type, data)
    } catch (error) {
      throw placedError(error, this.#columns, rank, this.#stated)
    }
  }

  /** Resolves when there is more to `follow`. */
  async scannedMore(): Promise<void> {
    await this.#progress?.changed(this.#followed)
  }

  /** What a part came to. */
  result(): IndexPartResult {
    return { resolved: this.#resolved, ...this.#checked.records() }
  }

  /** Takes in what the other thread did. @throws ProtocolError `too-large` */
  takePart(part: IndexPartResult): void {
    this.#resolved += part.resolved
    this.#checked.addRecords(part)
  }

  /**
   * Distinct names of REF_DELTA bases that are not at hand, in the order their first deltas stand in the pack. Copies.
   * Some may be deltas of the pack themselves, whose own base comes earlier in this list. So go through it in order, pass over what is
   * not to be had, and resolve after each `addBase`: that takes no base which has turned up meanwhile. `finish` refuses what is left.
   */
  missingBases(): Buffer[] {
    return this.#waiting.missing()
  }

  /**
   * Completes a thin pack by one base: returns the entry to be written at `offset`, which is where the entries end so far (first where
   * the trailer stood). Empty, and nothing to do, when no delta waits for this base any more. `resolve` goes on once it is written.
   * @throws ProtocolError `corrupt` when the data is not the object of that name
   */
  addBase(oid: Uint8Array, type: ObjectType, data: Uint8Array, offset: number): Buffer {
    if (!this.#waiting.isMissing(oid)) return Buffer.alloc(0)
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
    if (packBytes !== this.#end + trailerBytes) throw new RangeError(`the pack has ${this.#end + trailerBytes} bytes, not ${packBytes}`)
    if (this.#resolved !== this.#deltas) throw this.#unresolved()
    return orderIndex(this.#columns, packSha1, packBytes)
  }

  /**
   * What the pack's objects refer to, given the index that `finish` made.
   * @throws ProtocolError `bad-object` when an object is not of the type it is referred to as, `too-large` when trees lie too deep
   */
  connect(index: PackIndex): Connections {
    return this.#checked.connect(index, this.addedBases)
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
    try {
      const data = this.#inflate(source, rank)
      this.#checked.add(this.#columns.oids, rank, type, data)
      return data
    } catch (error) {
      throw placedError(error, this.#columns, rank, this.#stated)
    }
  }

  #unresolved(): ProtocolError {
    const columns = this.#columns
    const rank = columns.bases.findIndex((base) => base < noEntry)
    const base = oidFromBytes(this.#waiting.baseOf(columns, rank))
    return new ProtocolError('bad-pack', `object ${rank + 1} of ${this.#stated} is a delta of ${base}, which is not to be had`)
  }
}
