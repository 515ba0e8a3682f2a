import { ProtocolError } from '../errors.js'
import { trailerBytes as packTrailerBytes } from './entry.js'
import type { PackIndex } from './pack-index.js'
import { allocateSideFile, checksumBytes, isSealed, readWords, sealSideFile, writeWords } from './side-file.js'

const headerBytes = 12
const trailerBytes = packTrailerBytes + checksumBytes

/** What a `.rev` says. */
export interface ReverseIndex {
  readonly packSha1: Uint8Array
  /** By rank in the pack: the row in the `.idx`. */
  readonly rowOfRank: Uint32Array
}

/**
 * The `.rev` that C git would write: for every entry in pack order its row in the `.idx`.
 *
 *     'RIDX' · version 1 · hash 1 (SHA-1) · row N × u32 · pack trailer · SHA-1 of all before
 *
 * Spec: gitformat-pack(5), "pack-*.rev files have the format".
 * @throws ProtocolError `too-large`
 */
export function encodeReverseIndex(index: Pick<PackIndex, 'count' | 'packSha1' | 'rowOfRank'>): Buffer {
  const file = allocateSideFile(headerBytes + index.count * 4 + trailerBytes, 'a reverse index')
  file.write('RIDX', 0, 'latin1')
  file.writeUInt32BE(1, 4)
  file.writeUInt32BE(1, 8)
  writeWords(file, headerBytes, index.rowOfRank.subarray(0, index.count))
  file.set(index.packSha1, file.length - trailerBytes)
  return sealSideFile(file)
}

/**
 * Reads a `.rev`; every row is in it once.
 * @throws ProtocolError `corrupt`
 */
export function decodeReverseIndex(file: Uint8Array): ReverseIndex {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length)
  const rowBytes = file.length - headerBytes - trailerBytes
  if (rowBytes < 0 || rowBytes % 4 !== 0) throw corrupt('is cut off')
  if (bytes.toString('latin1', 0, 4) !== 'RIDX') throw corrupt('is none')
  if (bytes.readUInt32BE(4) !== 1) throw corrupt(`has version ${bytes.readUInt32BE(4)}`)
  if (bytes.readUInt32BE(8) !== 1) throw corrupt('is not of SHA-1')
  if (!isSealed(file)) throw corrupt('does not match its checksum')
  const rowOfRank = readWords(file, headerBytes, rowBytes / 4)
  if (!isPermutation(rowOfRank)) throw corrupt('does not have every row once')
  return { packSha1: file.subarray(file.length - trailerBytes, file.length - checksumBytes), rowOfRank }
}

/** True when every number below the length is there once. */
export function isPermutation(numbers: Uint32Array): boolean {
  const seen = new Uint8Array(numbers.length)
  for (const number of numbers) {
    if (number >= numbers.length || seen[number] === 1) return false
    seen[number] = 1
  }
  return true
}

const corrupt = (what: string): ProtocolError => new ProtocolError('corrupt', `reverse index ${what}`)
