import { createHash } from 'node:crypto'
import type { PackIndex } from './pack-index.js'

const fanoutBytes = 256 * 4
/** From here on an offset goes to the second table. */
const largeOffset = 2 ** 31

/**
 * The `.idx` that C git would write for the pack, to the byte.
 *
 *     ff 't' 'O' 'c' · version 2 · fan-out 256 × u32 · oids, ascending, N × 20 · CRC-32 N × u32
 *     offset N × u32 (bit 31: the rest is a place in the next table) · u64 × M · pack trailer · SHA-1 of all before
 *
 * Spec: gitformat-pack(5), "Version 2 pack-*.idx files".
 */
export function encodeIndexFile(index: PackIndex): Buffer {
  const { count, offsets, oids, crcs, rankOfRow } = index
  let large = 0
  for (let rank = 0; rank < count; rank++) if (offsets[rank]! >= largeOffset) large += 1
  const oidsAt = 8 + fanoutBytes
  const crcsAt = oidsAt + count * 20
  const offsetsAt = crcsAt + count * 4
  const largeAt = offsetsAt + count * 4
  const trailerAt = largeAt + large * 8

  const file = Buffer.alloc(trailerAt + 40)
  file.write('\xfftOc', 0, 'latin1')
  file.writeUInt32BE(2, 4)
  const fanout = new Uint32Array(256)
  let nextLarge = 0
  for (let row = 0; row < count; row++) {
    const rank = rankOfRow[row]!
    fanout[oids[rank * 20]!]!++
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
  for (let byte = 0, sum = 0; byte < 256; byte++) {
    sum += fanout[byte]!
    file.writeUInt32BE(sum, 8 + byte * 4)
  }
  return sealed(file, index.packSha1)
}

/**
 * The `.rev` that C git would write: for every entry in pack order its row in the `.idx`.
 *
 *     'RIDX' · version 1 · hash 1 (SHA-1) · row N × u32 · pack trailer · SHA-1 of all before
 *
 * Spec: gitformat-pack(5), "pack-*.rev files have the format".
 */
export function encodeReverseIndex(index: PackIndex): Buffer {
  const file = Buffer.alloc(12 + index.count * 4 + 40)
  file.write('RIDX', 0, 'latin1')
  file.writeUInt32BE(1, 4)
  file.writeUInt32BE(1, 8)
  for (let rank = 0; rank < index.count; rank++) file.writeUInt32BE(index.rowOfRank[rank]!, 12 + rank * 4)
  return sealed(file, index.packSha1)
}

/** Fills the last 40 bytes. */
function sealed(file: Buffer, packSha1: Uint8Array): Buffer {
  file.set(packSha1, file.length - 40)
  createHash('sha1')
    .update(file.subarray(0, file.length - 20))
    .digest()
    .copy(file, file.length - 20)
  return file
}
