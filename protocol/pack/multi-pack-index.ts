import { ChunkFile, type ChunkFileKind } from './chunk-file.js'
import { findOidRow, type OidRows } from './oid-rows.js'
import { readWords } from './side-file.js'

export const multiPackIndexKind: ChunkFileKind = { name: 'multi-pack index', signature: 'MIDX', extraBytes: 4 }

/** From here on an offset goes to LOFF, if there is one. */
export const largeOffset = 2 ** 31
/** Packs of one file. */
export const maxIndexedPacks = 65_536

/**
 * A multi-pack index: every object of some packs once, and from which of them it is taken.
 *
 *     'MIDX' · 1 · 1 · chunks · 0 · packs u32 · table of contents (chunk-file.ts)
 *     PNAM  names of the packs' .idx, ascending, each with a zero byte; filled up with zeros to a multiple of 4
 *     OIDF  fan-out 256 × u32    OIDL  oids, ascending, N × 20
 *     OOFF  N × (number of the pack u32 · offset u32; with LOFF, bit 31: the rest is a place there)    LOFF  offset u64 × M
 *     RIDX  by bit, N × u32: row. Bits count the objects of the preferred pack in pack order, then those of the other packs, by number
 *
 * Spec: gitformat-pack(5), "multi-pack-index (MIDX) files have the following format" and "Multi-pack-index reverse indexes". Where that says
 * that packs descend, C git has them ascend.
 */
export class MultiPackIndex {
  readonly count: number
  /** Of the packs' `.idx`, by number. */
  readonly packNames: readonly string[]
  /** What a bitmap names this index by, 20 bytes. */
  readonly checksum: Uint8Array
  /** By bit: the row. */
  readonly rowOfBit: Uint32Array
  readonly bitOfRow: Uint32Array
  readonly #oidRows: OidRows
  readonly #places: Uint32Array
  readonly #large: Buffer | undefined

  private constructor(file: ChunkFile) {
    this.checksum = file.checksum
    this.packNames = namesIn(file)
    this.#oidRows = file.oidRows()
    const { count } = this.#oidRows
    this.count = count
    this.#places = readWords(file.chunk('OOFF', count * 8), 0, count * 2)
    this.#large = file.has('LOFF') ? file.chunk('LOFF') : undefined
    this.#checkPlaces(file)
    this.rowOfBit = readWords(file.chunk('RIDX', count * 4), 0, count)
    this.bitOfRow = this.#invert(file)
  }

  /**
   * Opens a file; no lookup leaves it afterwards. Its names and oids are not copied.
   * @throws ProtocolError `corrupt`, also when it has no RIDX
   */
  static open(bytes: Uint8Array): MultiPackIndex {
    return new MultiPackIndex(new ChunkFile(multiPackIndexKind, bytes))
  }

  /** Row of the oid whose 20 bytes begin at `at`, or -1. */
  findRow(oid: Uint8Array, at = 0): number {
    return findOidRow(this.#oidRows, oid, at)
  }

  /** The 20 bytes of a row's oid. */
  oidOf(row: number): Uint8Array {
    return this.#oidRows.bytes.subarray(row * 20, row * 20 + 20)
  }

  /** Number of the pack that the object is taken from. */
  packOf(row: number): number {
    return this.#places[row * 2]!
  }

  /** Where its entry begins in that pack. */
  offsetOf(row: number): number {
    const offset = this.#places[row * 2 + 1]!
    if (!this.#large || offset < largeOffset) return offset
    return Number(this.#large.readBigUInt64BE((offset - largeOffset) * 8))
  }

  #checkPlaces(file: ChunkFile): void {
    const large = this.#large
    if (large && large.length % 8 !== 0) throw file.corrupt('has a chunk LOFF that is cut off')
    for (let row = 0; row < this.count; row++) {
      if (this.packOf(row) >= this.packNames.length) throw file.corrupt('has an object in a pack it does not name')
      const place = this.#places[row * 2 + 1]! - largeOffset
      if (large && place >= 0 && place * 8 >= large.length) throw file.corrupt('has an offset that is nowhere')
      if (!Number.isSafeInteger(this.offsetOf(row))) throw file.corrupt('has an impossible offset')
    }
  }

  /** Within a pack, bits rise with the offsets. */
  #invert(file: ChunkFile): Uint32Array {
    const { count, rowOfBit } = this
    const bitOfRow = new Uint32Array(count).fill(count)
    const ended = new Uint8Array(this.packNames.length)
    let before = -1
    for (let bit = 0; bit < count; bit++) {
      const row = rowOfBit[bit]!
      if (row >= count || bitOfRow[row] !== count) throw file.corrupt('does not have every row once in the order of its bits')
      bitOfRow[row] = bit
      const pack = this.packOf(row)
      const isNext = bit > 0 && this.packOf(before) !== pack
      if (isNext) ended[this.packOf(before)] = 1
      if (ended[pack] === 1 || (bit > 0 && !isNext && this.offsetOf(row) <= this.offsetOf(before))) throw file.corrupt('has bits out of order')
      before = row
    }
    return bitOfRow
  }
}

function namesIn(file: ChunkFile): string[] {
  const count = file.extra.readUInt32BE(0)
  if (count > maxIndexedPacks) throw file.corrupt(`is of ${count} packs`)
  const bytes = file.chunk('PNAM')
  const names: string[] = []
  let at = 0
  for (; names.length < count; at += names.at(-1)!.length + 1) {
    const end = bytes.indexOf(0, at)
    if (end === -1) throw file.corrupt('has names that are cut off')
    names.push(bytes.toString('latin1', at, end))
  }
  if (bytes.length - at >= 4 || bytes.subarray(at).some((byte) => byte !== 0)) throw file.corrupt('has something behind its names')
  if (names.some((name, i) => name === '' || (i > 0 && name <= names[i - 1]!))) throw file.corrupt('has names out of order')
  return names
}
