import { ProtocolError } from '../errors.js'
import type { ObjectType } from '../types.js'
import { minEntryBytes, packHeaderBytes, trailerBytes } from './entry.js'
import { findOidRow, oidRowsComplaint, type OidRows } from './oid-rows.js'
import { refDeltaBit, type PackIndex } from './pack-index.js'
import { compareOids } from './sort-oids.js'

/**
 * The object table of a pack: what an `.idx` has, and type, size and delta base besides. Little-endian, as typed arrays have it
 * on every machine Node runs Cairn on, so that one SharedArrayBuffer serves all threads without being parsed.
 *
 *     header, 64 bytes: 0 'CTBL' · 4 version u32 · 8 N u32 · 12 tail entries T u32 · 16 SHA-256 of the pack · 48 pack bytes f64 · 56 zero
 *     in oid order:     fan-out 256 × u32 · oids N × 20 · rank N × u32
 *     in pack order:    offset low N × u32 · offset high N × u16 · row N × u32 · base rank N × i32 (-1: whole)
 *                       size N × u32 (0xffffffff: in the tail) · type N × u8 (1-4; bit 7: stored as REF_DELTA)
 *     tail:             T × (rank u32 · zero u32 · size f64), ascending
 *
 * Every column begins at a multiple of 8, the gaps are zero, and so is what fills the last column up.
 */
const headerBytes = 64
const tailEntryBytes = 16
const version = 1
const inTail = 0xffffffff

const aligned = (bytes: number): number => Math.ceil(bytes / 8) * 8

interface Layout {
  readonly oids: number
  readonly ranks: number
  readonly offsetsLow: number
  readonly offsetsHigh: number
  readonly rows: number
  readonly bases: number
  readonly sizes: number
  readonly types: number
  readonly tail: number
  readonly end: number
}

function layoutOf(count: number, tailCount: number): Layout {
  const oids = headerBytes + 256 * 4
  const ranks = aligned(oids + count * 20)
  const offsetsLow = aligned(ranks + count * 4)
  const offsetsHigh = aligned(offsetsLow + count * 4)
  const rows = aligned(offsetsHigh + count * 2)
  const bases = aligned(rows + count * 4)
  const sizes = aligned(bases + count * 4)
  const types = aligned(sizes + count * 4)
  const tail = aligned(types + count)
  return { oids, ranks, offsetsLow, offsetsHigh, rows, bases, sizes, types, tail, end: tail + tailCount * tailEntryBytes }
}

/** The table of a pack whose bytes hash to `packSha256`, in shared memory. */
export function encodeObjectTable(index: PackIndex, packSha256: Uint8Array): Buffer<SharedArrayBuffer> {
  const { count } = index
  const tail: number[] = []
  for (let rank = 0; rank < count; rank++) if (index.sizes[rank]! >= inTail) tail.push(rank)
  const layout = layoutOf(count, tail.length)
  const buffer = new SharedArrayBuffer(layout.end)
  const bytes = Buffer.from(buffer)
  bytes.write('CTBL', 0, 'latin1')
  bytes.writeUInt32LE(version, 4)
  bytes.writeUInt32LE(count, 8)
  bytes.writeUInt32LE(tail.length, 12)
  bytes.set(packSha256, 16)
  bytes.writeDoubleLE(index.packBytes, 48)

  const fanout = new Uint32Array(buffer, headerBytes, 256)
  for (let row = 0; row < count; row++) {
    const from = index.rankOfRow[row]! * 20
    fanout[index.oids[from]!]!++
    for (let byte = 0; byte < 20; byte++) bytes[layout.oids + row * 20 + byte] = index.oids[from + byte]!
  }
  for (let byte = 1; byte < 256; byte++) fanout[byte]! += fanout[byte - 1]!
  new Uint32Array(buffer, layout.ranks, count).set(index.rankOfRow)
  const low = new Uint32Array(buffer, layout.offsetsLow, count)
  const high = new Uint16Array(buffer, layout.offsetsHigh, count)
  const sizes = new Uint32Array(buffer, layout.sizes, count)
  for (let rank = 0; rank < count; rank++) {
    low[rank] = index.offsets[rank]! % 2 ** 32
    high[rank] = Math.floor(index.offsets[rank]! / 2 ** 32)
    sizes[rank] = Math.min(index.sizes[rank]!, inTail)
  }
  new Uint32Array(buffer, layout.rows, count).set(index.rowOfRank)
  new Int32Array(buffer, layout.bases, count).set(index.bases)
  bytes.set(index.types, layout.types)
  tail.forEach((rank, i) => {
    bytes.writeUInt32LE(rank, layout.tail + i * tailEntryBytes)
    bytes.writeDoubleLE(index.sizes[rank]!, layout.tail + i * tailEntryBytes + 8)
  })
  return bytes
}

/** An open table. Rows count in oid order, ranks in pack order; asked beyond its objects it answers nonsense. */
export class ObjectTable {
  readonly count: number
  readonly packBytes: number
  readonly packSha256: Uint8Array
  readonly bytes: Uint8Array
  readonly #layout: Layout
  readonly #oidRows: OidRows
  readonly #ranks: Uint32Array
  readonly #offsetsLow: Uint32Array
  readonly #offsetsHigh: Uint16Array
  readonly #rows: Uint32Array
  readonly #bases: Int32Array
  readonly #sizes: Uint32Array
  readonly #types: Uint8Array
  readonly #tailCount: number

  private constructor(bytes: Uint8Array, count: number, tailCount: number, layout: Layout) {
    const { buffer, byteOffset } = bytes
    const view = new DataView(buffer, byteOffset, headerBytes)
    this.bytes = bytes
    this.count = count
    this.packBytes = view.getFloat64(48, true)
    this.packSha256 = bytes.subarray(16, 48)
    this.#layout = layout
    this.#tailCount = tailCount
    this.#oidRows = { bytes, oidsAt: layout.oids, fanout: new Uint32Array(buffer, byteOffset + headerBytes, 256), count }
    this.#ranks = new Uint32Array(buffer, byteOffset + layout.ranks, count)
    this.#offsetsLow = new Uint32Array(buffer, byteOffset + layout.offsetsLow, count)
    this.#offsetsHigh = new Uint16Array(buffer, byteOffset + layout.offsetsHigh, count)
    this.#rows = new Uint32Array(buffer, byteOffset + layout.rows, count)
    this.#bases = new Int32Array(buffer, byteOffset + layout.bases, count)
    this.#sizes = new Uint32Array(buffer, byteOffset + layout.sizes, count)
    this.#types = bytes.subarray(layout.types, layout.types + count)
  }

  /**
   * Opens the table in `bytes`, which begin at a multiple of 8 of an ArrayBuffer or SharedArrayBuffer and are not copied.
   * Afterwards no lookup leaves the table or the pack, and no chain of bases runs in a circle.
   * @throws ProtocolError `corrupt` when the table is cut or contradicts itself
   */
  static open(bytes: Uint8Array): ObjectTable {
    if (bytes.length < headerBytes) throw corrupt('is cut off')
    const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
    if (view.getUint32(0, false) !== 0x4354424c) throw corrupt('is none')
    if (view.getUint32(4, true) !== version) throw corrupt(`has version ${view.getUint32(4, true)}`)
    const count = view.getUint32(8, true)
    const tailCount = view.getUint32(12, true)
    const layout = layoutOf(count, tailCount)
    if (bytes.length !== layout.end) throw corrupt(`has ${bytes.length} bytes and not ${layout.end}`)
    const table = new ObjectTable(bytes, count, tailCount, layout)
    table.#check()
    return table
  }

  /** The same without looking: for bytes that `open` has passed before, in whatever thread. */
  static openChecked(bytes: Uint8Array): ObjectTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
    const count = view.getUint32(8, true)
    const tailCount = view.getUint32(12, true)
    return new ObjectTable(bytes, count, tailCount, layoutOf(count, tailCount))
  }

  /** Row of the oid whose 20 bytes begin at `at`, or -1. */
  findRow(oid: Uint8Array, at = 0): number {
    return findOidRow(this.#oidRows, oid, at)
  }

  /** First row whose oid is `oid` or comes after it; `count` when none does. */
  firstRowFrom(oid: Uint8Array): number {
    const first = oid[0]!
    const { fanout } = this.#oidRows
    let low = first === 0 ? 0 : fanout[first - 1]!
    let high = fanout[first]!
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareOids(this.bytes, this.#layout.oids + middle * 20, oid, 0) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  rankOfRow(row: number): number {
    return this.#ranks[row]!
  }

  rowOfRank(rank: number): number {
    return this.#rows[rank]!
  }

  /** Where in `bytes` the 20 bytes of a row's oid begin. */
  oidsAt(row: number): number {
    return this.#layout.oids + row * 20
  }

  /** Writes the 20 bytes of the oid into `into` at 0. */
  oidOfRank(rank: number, into: Uint8Array): void {
    const at = this.oidsAt(this.#rows[rank]!)
    for (let i = 0; i < 20; i++) into[i] = this.bytes[at + i]!
  }

  /** Type of the object itself, also where it is stored as a delta. */
  typeOf(rank: number): ObjectType {
    return (this.#types[rank]! & 7) as ObjectType
  }

  isRefDelta(rank: number): boolean {
    return (this.#types[rank]! & refDeltaBit) !== 0
  }

  /** Bytes of the object itself, also where it is stored as a delta. */
  sizeOf(rank: number): number {
    const size = this.#sizes[rank]!
    return size === inTail ? this.#tailSize(rank) : size
  }

  /** First byte of the entry in the pack. */
  offsetOf(rank: number): number {
    return this.#offsetsHigh[rank]! * 2 ** 32 + this.#offsetsLow[rank]!
  }

  /** First byte after the entry. */
  endOf(rank: number): number {
    return rank + 1 < this.count ? this.offsetOf(rank + 1) : this.packBytes - trailerBytes
  }

  /** Rank of the delta base, or -1: stored whole. */
  baseOf(rank: number): number {
    return this.#bases[rank]!
  }

  #tailSize(rank: number): number {
    const view = this.#tail()
    let low = 0
    let high = this.#tailCount - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = view.getUint32(middle * tailEntryBytes, true)
      if (found === rank) return view.getFloat64(middle * tailEntryBytes + 8, true)
      if (found < rank) low = middle + 1
      else high = middle - 1
    }
    throw corrupt(`has no size for object ${rank}`)
  }

  #tail(): DataView {
    return new DataView(this.bytes.buffer, this.bytes.byteOffset + this.#layout.tail, this.#tailCount * tailEntryBytes)
  }

  #check(): void {
    if (!Number.isSafeInteger(this.packBytes) || this.packBytes < packHeaderBytes + trailerBytes) throw corrupt('has an impossible pack size')
    this.#checkGaps()
    this.#checkRows()
    this.#checkRanks()
    this.#checkTail()
    this.#checkCircles()
  }

  #checkGaps(): void {
    const { oids, ranks, offsetsLow, offsetsHigh, rows, bases, sizes, types, tail } = this.#layout
    const { count } = this
    const gaps: readonly (readonly [number, number])[] = [
      [56, headerBytes],
      [oids + count * 20, ranks],
      [ranks + count * 4, offsetsLow],
      [offsetsLow + count * 4, offsetsHigh],
      [offsetsHigh + count * 2, rows],
      [rows + count * 4, bases],
      [bases + count * 4, sizes],
      [sizes + count * 4, types],
      [types + count, tail],
    ]
    for (const [from, to] of gaps) for (let at = from; at < to; at++) if (this.bytes[at] !== 0) throw corrupt('has something in its gaps')
  }

  #checkRows(): void {
    const { count } = this
    const complaint = oidRowsComplaint(this.#oidRows)
    if (complaint !== undefined) throw corrupt(complaint)
    for (let row = 0; row < count; row++) {
      if (this.#rows[this.#ranks[row]!] !== row) throw corrupt('has rows and ranks that do not match')
    }
  }

  #checkRanks(): void {
    const { count } = this
    let expected = packHeaderBytes
    for (let rank = 0; rank < count; rank++) {
      const offset = this.offsetOf(rank)
      if (rank === 0 ? offset !== expected : offset < expected) throw corrupt('has offsets out of order')
      expected = offset + minEntryBytes
      const base = this.#bases[rank]!
      const type = this.#types[rank]!
      const isRefDelta = (type & refDeltaBit) !== 0
      if ((type & 0x78) !== 0 || (type & 7) < 1 || (type & 7) > 4 || (isRefDelta && base === -1)) throw corrupt(`has no object type ${type}`)
      if (base < -1 || base >= count || (!isRefDelta && base >= rank)) throw corrupt('has a delta base out of its place')
      if (base !== -1 && this.typeOf(base) !== (type & 7)) throw corrupt('has a delta base of another type')
    }
    const end = this.packBytes - trailerBytes
    if (count === 0 ? end !== packHeaderBytes : end < expected) throw corrupt('has offsets beyond the end of the pack')
  }

  #checkTail(): void {
    const view = this.#tail()
    let before = -1
    for (let i = 0; i < this.#tailCount; i++) {
      const rank = view.getUint32(i * tailEntryBytes, true)
      const size = view.getFloat64(i * tailEntryBytes + 8, true)
      const isZero = view.getUint32(i * tailEntryBytes + 4, true) === 0
      if (rank <= before || this.#sizes[rank] !== inTail || !isZero) throw corrupt('has a tail out of order')
      if (!Number.isSafeInteger(size) || size < inTail) throw corrupt('has an impossible size')
      before = rank
    }
    let large = 0
    for (let rank = 0; rank < this.count; rank++) if (this.#sizes[rank] === inTail) large += 1
    if (large !== this.#tailCount) throw corrupt('has sizes that are nowhere')
  }

  /** Only a REF_DELTA can have its base behind it, and so lead in a circle. */
  #checkCircles(): void {
    const { count } = this
    let known: Uint8Array | undefined
    for (let rank = 0; rank < count; rank++) {
      if (this.#bases[rank]! < rank) continue
      known ??= new Uint8Array(count)
      // 1: on the way from here; 2: ends well.
      let at = rank
      for (; at !== -1 && known[at] === 0; at = this.#bases[at]!) known[at] = 1
      if (at !== -1 && known[at] === 1) throw corrupt('has a delta that leads back to itself')
      for (at = rank; at !== -1 && known[at] === 1; at = this.#bases[at]!) known[at] = 2
    }
  }
}

const corrupt = (what: string): ProtocolError => new ProtocolError('corrupt', `object table ${what}`)
