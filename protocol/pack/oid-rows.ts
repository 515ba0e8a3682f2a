import { compareOids } from './sort-oids.js'
import { writeWords } from './side-file.js'

/** A fan-out as git writes it: 256 × u32. */
export const fanoutBytes = 256 * 4

/** Oids in ascending order, 20 bytes each, behind a fan-out that says by first byte how many come no later. */
export interface OidRows {
  readonly bytes: Uint8Array
  /** Where in `bytes` the first oid begins. */
  readonly oidsAt: number
  readonly fanout: Uint32Array
  readonly count: number
}

/** Row of the oid that begins at `at` of `oid`, or -1. */
export function findOidRow({ bytes, oidsAt, fanout }: OidRows, oid: Uint8Array, at: number): number {
  const first = oid[at]!
  let low = first === 0 ? 0 : fanout[first - 1]!
  let high = fanout[first]! - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const order = compareOids(bytes, oidsAt + middle * 20, oid, at)
    if (order === 0) return middle
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return -1
}

/** What is wrong with the rows; undefined: nothing. */
export function oidRowsComplaint({ bytes, oidsAt, fanout, count }: OidRows): string | undefined {
  for (let byte = 0, row = 0; byte < 256; byte++) {
    const end = fanout[byte]!
    if (end < row || end > count) return 'has a fan-out that does not rise to its count'
    for (; row < end; row++) if (bytes[oidsAt + row * 20] !== byte) return 'has a fan-out that does not match its oids'
  }
  if (fanout[255] !== count) return 'has a fan-out that does not rise to its count'
  for (let row = 1; row < count; row++) {
    if (compareOids(bytes, oidsAt + (row - 1) * 20, bytes, oidsAt + row * 20) >= 0) return 'has oids out of order'
  }
  return undefined
}

/** Writes the fan-out of `count` sorted oids that begin at `oidsAt` of the file. */
export function writeFanout(file: Buffer, at: number, oidsAt: number, count: number): void {
  const fanout = new Uint32Array(256)
  for (let row = 0; row < count; row++) fanout[file[oidsAt + row * 20]!]!++
  for (let byte = 1; byte < 256; byte++) fanout[byte]! += fanout[byte - 1]!
  writeWords(file, at, fanout)
}
