import { ProtocolError } from '../errors.js'
import type { ObjectTable } from './object-table.js'
import { fanoutBytes, writeFanout } from './oid-rows.js'
import type { PackIndex } from './pack-index.js'
import { allocateSideFile, sealSideFile } from './side-file.js'

/** From here on an offset goes to the second table. */
const largeOffset = 2 ** 31
const oidsAt = 8 + fanoutBytes
/** Signature and version. */
const indexHead = Buffer.from('\xfftOc\0\0\0\x02', 'latin1')

/**
 * The `.idx` that C git would write for the pack, to the byte.
 *
 *     ff 't' 'O' 'c' · version 2 · fan-out 256 × u32 · oids, ascending, N × 20 · CRC-32 N × u32
 *     offset N × u32 (bit 31: the rest is a place in the next table) · u64 × M · pack trailer · SHA-1 of all before
 *
 * Spec: gitformat-pack(5), "Version 2 pack-*.idx files".
 * @throws ProtocolError `too-large`
 */
export function encodeIndexFile(index: PackIndex): Buffer {
  const { count, offsets, oids, crcs, rankOfRow } = index
  let large = 0
  for (let rank = 0; rank < count; rank++) if (offsets[rank]! >= largeOffset) large += 1
  const crcsAt = oidsAt + count * 20
  const offsetsAt = crcsAt + count * 4
  const largeAt = offsetsAt + count * 4
  const trailerAt = largeAt + large * 8

  const file = allocateSideFile(trailerAt + 40, 'a pack index')
  file.set(indexHead)
  let nextLarge = 0
  for (let row = 0; row < count; row++) {
    const rank = rankOfRow[row]!
    for (let byte = 0; byte < 20; byte++) file[oidsAt + row * 20 + byte] = oids[rank * 20 + byte]!
    file.writeUInt32BE(crcs[rank]!, crcsAt + row * 4)
    const offset = offsets[rank]!
    if (offset < largeOffset) {
      file.writeUInt32BE(offset, offsetsAt + row * 4)
      continue
    }
    file.writeUInt32BE(largeOffset + nextLarge, offsetsAt + row * 4)
    file.writeBigUInt64BE(BigInt(offset), largeAt + nextLarge * 8)
    nextLarge += 1
  }
  writeFanout(file, 8, oidsAt, count)
  file.set(index.packSha1, trailerAt)
  return sealSideFile(file)
}

/**
 * The CRC-32 of every entry by rank, out of the `.idx` of the pack that `table` is of. In shared memory.
 * @throws ProtocolError `corrupt` when it is none, or that of another pack
 */
export function readIndexCrcs(file: Uint8Array, table: ObjectTable): Uint32Array {
  const { count } = table
  const crcsAt = oidsAt + count * 20
  const isIndex = file.length >= crcsAt + count * 8 + 40 && Buffer.compare(file.subarray(0, 8), indexHead) === 0
  const oids = table.bytes.subarray(table.oidsAt(0), table.oidsAt(count))
  if (!isIndex || Buffer.compare(file.subarray(oidsAt, crcsAt), oids) !== 0) throw new ProtocolError('corrupt', 'pack index is that of another pack')
  const crcs = new Uint32Array(new SharedArrayBuffer(count * 4))
  const byRow = new DataView(file.buffer, file.byteOffset + crcsAt, count * 4)
  for (let row = 0; row < count; row++) crcs[table.rankOfRow(row)] = byRow.getUint32(row * 4)
  return crcs
}
