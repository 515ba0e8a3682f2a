import { ProtocolError } from '../errors.js'
import type { MultiPackIndex } from '../pack/multi-pack-index.js'
import type { ObjectTable } from '../pack/object-table.js'
import { entryAt, type Entry } from '../ports.js'

/** The objects that bitmaps are about, each with its bit. Bits count in pack order, rows in the order of the oids. */
export interface BitOrder {
  readonly count: number
  /** What the objects are those of: the trailer of a pack, or of a multi-pack index. 20 bytes. */
  readonly checksum: Uint8Array
  /** Bit of the object whose oid begins at `at`, or -1. */
  findBit(oid: Uint8Array, at?: number): number
  bitOfRow(row: number): number
  rowOfBit(bit: number): number
  /** Where a view has the object. */
  entryOfBit(bit: number): Entry
}

/** A pack of a view. */
export interface OrderedPack {
  /** Its ordinal there. */
  readonly ordinal: number
  readonly table: ObjectTable
}

/** Bits of one pack. `packSha1`: its trailer. */
export function packBitOrder({ ordinal, table }: OrderedPack, packSha1: Uint8Array): BitOrder {
  return {
    count: table.count,
    checksum: packSha1,
    findBit(oid, at = 0) {
      const row = table.findRow(oid, at)
      return row === -1 ? -1 : table.rankOfRow(row)
    },
    bitOfRow: (row) => table.rankOfRow(row),
    rowOfBit: (bit) => table.rowOfRank(bit),
    entryOfBit: (bit) => entryAt(ordinal, bit),
  }
}

/**
 * Bits of a multi-pack index; the packs in the order of its names. Eight bytes an object.
 * @throws ProtocolError `corrupt` when these are not its packs
 */
export function indexBitOrder(index: MultiPackIndex, packs: readonly OrderedPack[]): BitOrder {
  if (packs.length !== index.packNames.length) throw corrupt()
  const { count, rowOfBit, bitOfRow } = index
  const entries = new Float64Array(count)
  // Bits of a pack follow one another in its order.
  let rank = 0
  for (let bit = 0; bit < count; bit++) {
    const row = rowOfBit[bit]!
    const number = index.packOf(row)
    if (bit === 0 || number !== index.packOf(rowOfBit[bit - 1]!)) rank = 0
    const { ordinal, table } = packs[number]!
    const offset = index.offsetOf(row)
    while (rank < table.count && table.offsetOf(rank) < offset) rank += 1
    if (rank === table.count || table.offsetOf(rank) !== offset) throw corrupt()
    entries[bit] = entryAt(ordinal, rank)
  }
  return {
    count,
    checksum: index.checksum,
    findBit(oid, at = 0) {
      const row = index.findRow(oid, at)
      return row === -1 ? -1 : bitOfRow[row]!
    },
    bitOfRow: (row) => bitOfRow[row]!,
    rowOfBit: (bit) => rowOfBit[bit]!,
    entryOfBit: (bit) => entries[bit]!,
  }
}

/**
 * The same of two packs that have no object in common, the first of them preferred, without that index: its rows and bits follow from the tables.
 * `checksum`: that of the index.
 */
export function pairBitOrder(preferred: OrderedPack, other: OrderedPack, checksum: Uint8Array): BitOrder {
  const [first, second] = [preferred.table, other.table]
  const oid = new Uint8Array(20)
  /** Row in the index of a row of one pack. */
  const mergedRow = (table: ObjectTable, row: number): number => {
    for (let i = 0, at = table.oidsAt(row); i < 20; i++) oid[i] = table.bytes[at + i]!
    return row + (table === first ? second : first).firstRowFrom(oid)
  }
  /** Of the pack: the row with that row in the index, or -1. */
  const rowIn = (table: ObjectTable, merged: number): number => {
    let [low, high] = [0, table.count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (mergedRow(table, middle) < merged) low = middle + 1
      else high = middle
    }
    return low < table.count && mergedRow(table, low) === merged ? low : -1
  }
  return {
    count: first.count + second.count,
    checksum,
    findBit(name, at = 0) {
      const row = first.findRow(name, at)
      if (row !== -1) return first.rankOfRow(row)
      const otherRow = second.findRow(name, at)
      return otherRow === -1 ? -1 : first.count + second.rankOfRow(otherRow)
    },
    bitOfRow(merged) {
      const row = rowIn(first, merged)
      if (row !== -1) return first.rankOfRow(row)
      const otherRow = rowIn(second, merged)
      if (otherRow === -1) throw corrupt()
      return first.count + second.rankOfRow(otherRow)
    },
    rowOfBit: (bit) => (bit < first.count ? mergedRow(first, first.rowOfRank(bit)) : mergedRow(second, second.rowOfRank(bit - first.count))),
    entryOfBit: (bit) => (bit < first.count ? entryAt(preferred.ordinal, bit) : entryAt(other.ordinal, bit - first.count)),
  }
}

const corrupt = (): ProtocolError => new ProtocolError('corrupt', 'multi-pack index is of other packs')
