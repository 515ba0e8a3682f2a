import { crc32 } from 'node:zlib'
import { ProtocolError } from '../errors.js'
import type { Progress } from '../ports.js'
import type { ObjectType } from '../types.js'
import { anyType } from './connect.js'
import { deltaSizes } from './delta.js'
import {
  decodeEntryHeader,
  deflatedBound,
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
import { checkObjectSize, tooLarge, type IndexLimits, type InflationMeter } from './index-limits.js'
import { minSharedCount, objectWork, SharedProgress, sliceWork, type IndexPart } from './index-part.js'
import { noEntry, PackColumns } from './pack-columns.js'
import type { ByteSource } from './pack-index.js'
import { placedError } from './placed-error.js'
import { ReferenceSet } from './reference-set.js'
import { maxSimpleBytes } from './simple-inflate.js'

/** More than this no entry may take, however it was deflated. */
const mostBytes = ({ headerBytes, size }: Pick<EntryHeader, 'headerBytes' | 'size'>): number => 2 * (headerBytes + deflatedBound(size)) + 2 ** 20

const cutOff = (): ProtocolError => new ProtocolError('bad-pack', 'pack ends early')

export interface PackScanOptions {
  readonly limits: IndexLimits
  readonly meter: InflationMeter
  /** Told of a pack that is large enough for another thread to help with, before its first entry. */
  readonly onShared: (part: IndexPart) => void
}

/**
 * The first pass over a pack: every entry inflated once, so that all are known by place and size, and every delta by its base. What it found
 * stands in its fields.
 */
export class PackScan {
  columns = new PackColumns(0)
  held = new HeldEntries(0, 0)
  /** Names of REF_DELTA bases. */
  readonly bases: ReferenceSet
  /** By number of such a name: its first delta until the base is there. */
  waiting: Int32Array = new Int32Array(0)
  /** Objects the pack itself states. */
  stated = 0
  deltas = 0
  /** Where the next entry would stand. */
  end = 0
  /** Of a pack that another thread may help with. */
  progress: SharedProgress | undefined
  readonly #limits: IndexLimits
  readonly #meter: InflationMeter
  readonly #onShared: (part: IndexPart) => void
  readonly #scratch = Buffer.allocUnsafeSlow(maxSimpleBytes)

  constructor({ limits, meter, onShared }: PackScanOptions) {
    this.#limits = limits
    this.#meter = meter
    this.#onShared = onShared
    this.bases = new ReferenceSet(limits.maxObjects)
  }

  /**
   * First pass, over the whole of `source`: signature, count, entries, limits, and the trailer with nothing behind it.
   * @throws ProtocolError `bad-pack`, `bad-object`, `too-large`
   */
  *run(source: ByteSource): Generator<Progress | 'more', void> {
    const window = new ForwardWindow(source)
    while (!window.whole && window.end < packHeaderBytes) yield 'more'
    const count = this.#decodeHeader(source)
    window.hold(0, packHeaderBytes)
    // What a stranger states costs addresses; memory is only what bytes stand behind.
    const shared = count >= minSharedCount
    this.columns = new PackColumns(shared ? count : Math.min(count, Math.ceil(source.length / minEntryBytes)))
    this.held = new HeldEntries(count, this.#limits.cacheBytes / 2, { shared })
    this.stated = count
    this.end = packHeaderBytes
    if (shared) this.#share()
    let work = 0
    for (let rank = 0; rank < count; rank++) {
      while (!window.whole && !this.#hasNext(window)) {
        if (this.progress) this.progress.scanned = rank
        yield 'more'
      }
      work += objectWork + this.#scanEntry(window)
      if (work < sliceWork) continue
      work = 0
      if (this.progress) this.progress.scanned = rank + 1
      yield { title: 'Indexing objects', done: rank + 1, total: count }
    }
    while (!window.whole) yield 'more'
    const { end } = window
    if (this.end !== end) throw new ProtocolError('bad-pack', `pack has ${end - this.end} bytes after the last of its ${count} objects`)
    if (!window.sha1().equals(source.read(end, end + trailerBytes))) throw new ProtocolError('bad-pack', 'pack trailer does not match its content')
    this.#linkDeltas()
    yield { title: 'Indexing objects', done: count, total: count }
  }

  /** Offers the pack to another thread. */
  #share(): void {
    this.progress = new SharedProgress()
    const limits = { ...this.#limits, cacheBytes: this.#limits.cacheBytes / 2 }
    this.#onShared({ limits, stated: this.stated, progress: this.progress.buffer, columns: this.columns.state(), held: this.held.state() })
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
    const offset = this.end
    window.hold(offset, maxHeaderBytes)
    const there = window.end - offset
    if (there < maxHeaderBytes) return false
    const header = decodeEntryHeader(window.bytes, offset - window.from, offset)
    return !header || header.size > this.#limits.maxObjectBytes || there > mostBytes(header)
  }

  /** Takes in the entry at `#end`. Returns the bytes it inflated to. */
  #scanEntry(window: ForwardWindow): number {
    const columns = this.columns
    const { maxObjectBytes } = this.#limits
    const rank = columns.append()
    const offset = this.end
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
      this.end = offset + entryBytes
      this.#meter.add(size)
      this.#meter.checkRatio(this.end)
      this.held.hold(rank, data)
      if (type <= 4) {
        columns.sizes[rank] = size
      } else {
        const { result } = deltaSizes(data)
        if (result > maxObjectBytes) throw tooLarge('object', result, maxObjectBytes)
        columns.sizes[rank] = result
        this.deltas += 1
      }
      return size
    } catch (error) {
      throw placedError(error, this.columns, rank, this.stated)
    }
  }

  /** What `bases` says before the object is known. */
  #baseOf(header: EntryHeader, rank: number): number {
    if (header.baseOid) return -2 - this.bases.add(header.baseOid, 0, anyType)
    if (header.baseOffset === undefined) return noEntry
    const base = this.columns.rankAt(header.baseOffset)
    if (base === -1 || base === rank) throw new ProtocolError('bad-pack', `is a delta of byte ${header.baseOffset}, where no object begins`)
    return base
  }

  /** The entry inflated; its data is valid until the next. */
  #inflateNext(window: ForwardWindow, offset: number, { headerBytes, size }: EntryHeader): InflatedEntry {
    const bound = headerBytes + deflatedBound(size)
    const most = mostBytes({ headerBytes, size })
    for (let need = bound; ; need = 2 * (window.to - offset)) {
      window.hold(offset, need)
      const inflated = inflateEntry(window.bytes, offset - window.from + headerBytes, size, this.#scratch)
      if (inflated) return inflated
      if (window.to === window.end) throw cutOff()
      if (window.to - offset > most) throw new ProtocolError('bad-pack', `takes far more than the ${size} bytes it inflates to`)
    }
  }

  /** Makes the lists of children, each in pack order. */
  #linkDeltas(): void {
    const columns = this.columns
    this.waiting = new Int32Array(this.bases.count).fill(noEntry)
    for (let rank = columns.count - 1; rank >= 0; rank--) {
      const base = columns.bases[rank]!
      if (base >= 0) columns.adopt(rank, base)
      if (base >= noEntry) continue
      columns.nextChild[rank] = this.waiting[-2 - base]!
      this.waiting[-2 - base] = rank
    }
  }
}
