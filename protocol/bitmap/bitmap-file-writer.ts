import { allocateSideFile, checksumBytes, sealSideFile } from '../pack/side-file.js'
import type { BitOrder } from './bit-order.js'
import { closedFlag, entryBytes, headerBytes } from './bitmap-file.js'
import { xorEwah } from './combine.js'
import { encodedBytes, writeEwah, type Ewah } from './ewah.js'

/** A commit, by its bit, and all that can be reached from it. */
export interface CommitBitmap {
  readonly commit: number
  readonly reachable: Ewah
}

/** How many bitmaps before it each is compared with, as C git does. */
const comparedBitmaps = 10
/** Most bitmaps that must be put together to have one. */
const maxChain = 32

interface Stored {
  readonly commit: number
  readonly distance: number
  readonly ewah: Ewah
}

/**
 * The bitmap file of these commits. `types`: bits of the commits, trees, blobs and tags. Bitmaps that are alike should stand together: each
 * is kept as what differs from one before it, where that is shorter.
 * @throws ProtocolError `too-large`
 */
export function encodeBitmapFile(order: BitOrder, types: readonly [Ewah, Ewah, Ewah, Ewah], bitmaps: readonly CommitBitmap[]): Buffer {
  const stored = differences(bitmaps)
  let bytes = headerBytes + checksumBytes
  for (const type of types) bytes += encodedBytes(type)
  for (const { ewah } of stored) bytes += entryBytes + encodedBytes(ewah)
  const file = allocateSideFile(bytes, 'a bitmap file')
  file.write('BITM', 0, 'latin1')
  file.writeUInt16BE(1, 4)
  file.writeUInt16BE(closedFlag, 6)
  file.writeUInt32BE(stored.length, 8)
  file.set(order.checksum, 12)
  let at = headerBytes
  for (const type of types) at = writeEwah(file, at, type)
  for (const { commit, distance, ewah } of stored) {
    file.writeUInt32BE(order.rowOfBit(commit), at)
    file[at + 4] = distance
    at = writeEwah(file, at + entryBytes, ewah)
  }
  return sealSideFile(file)
}

function differences(bitmaps: readonly CommitBitmap[]): Stored[] {
  const chains: number[] = []
  return bitmaps.map(({ commit, reachable }, i) => {
    let best: Stored = { commit, distance: 0, ewah: reachable }
    chains.push(1)
    for (let distance = 1; distance <= Math.min(i, comparedBitmaps); distance++) {
      if (chains[i - distance] === maxChain) continue
      const ewah = xorEwah(reachable, bitmaps[i - distance]!.reachable)
      if (ewah.words.length >= best.ewah.words.length) continue
      best = { commit, distance, ewah }
      chains[i] = chains[i - distance]! + 1
    }
    return best
  })
}
