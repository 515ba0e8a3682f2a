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

/** Fewer rows are halved from the start. */
const fewRows = 16

/**
 * Row of the oid that begins at `at` of `oid`, or -1. Oids are as good as random, so their first bytes nearly say where one stands: looked for
 * there first, it is found among rows that lie beside each other. Oids that are not cost two comparisons more.
 */
export function findOidRow({ bytes, oidsAt, fanout }: OidRows, oid: Uint8Array, at: number): number {
  const first = oid[at]!
  let low = first === 0 ? 0 : fanout[first - 1]!
  let high = fanout[first]! - 1
  if (high - low >= fewRows) {
    const share = ((oid[at + 1]! << 16) | (oid[at + 2]! << 8) | oid[at + 3]!) / 2 ** 24
    const near = low + Math.floor(share * (high - low + 1))
    const order = compareOids(bytes, oidsAt + near * 20, oid, at)
    if (order === 0) return near
    // Seldom further off than that.
    const bound = near + (order < 0 ? 1 : -1) * Math.ceil(Math.sqrt(high - low))
    const isBetween = bound > low && bound < high
    const boundOrder = isBetween ? compareOids(bytes, oidsAt + bound * 20, oid, at) : 0
    if (order < 0) low = near + 1
    else high = near - 1
    if (isBetween && boundOrder <= 0) low = bound
    if (isBetween && boundOrder >= 0) high = bound
  }
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
