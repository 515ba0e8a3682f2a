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

const corrupt = (): ProtocolError => new ProtocolError('corrupt', 'multi-pack index is of other packs')
