import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import type { PackColumns } from './pack-columns.js'
import type { PackIndex } from './pack-index.js'
import { compareOids, sortOids } from './sort-oids.js'

/**
 * The index of a pack of which all objects are named: of `packBytes` bytes, ending with `packSha1`. Shares the columns' memory.
 * @throws ProtocolError `bad-pack` when an object is there twice
 */
export function orderIndex(columns: PackColumns, packSha1: Uint8Array, packBytes: number): PackIndex {
  const { count } = columns
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
