import { ProtocolError } from '../errors.js'
import { checksumBytes, isSealed } from '../pack/side-file.js'
import type { ObjectType } from '../types.js'
import type { BitOrder } from './bit-order.js'
import { BitSet } from './bit-set.js'
import { readEwah, type Ewah } from './ewah.js'

export const headerBytes = 32
/** Row u32, distance u8, flags u8. */
export const entryBytes = 6
export const maxXorDistance = 160
/** Every object that a bitmap can lead to has a bit. Always set. */
export const closedFlag = 1
const hashesFlag = 4
const placesFlag = 16
const placeBytes = 16

/**
 * A bitmap file: of some commits, all that can be reached from them.
 *
 *     'BITM' · version 1 u16 · flags u16 (1: always; 4: path hashes; 16: places) · entries u32 · checksum of what the bits are of, 20 bytes
 *     four bitmaps: commits, trees, blobs, tags
 *     entries × (row of the commit u32 · distance u8 · flags u8 · bitmap: where the distance is not 0, what differs from the entry so far before)
 *     places, entries × 16 bytes · path hashes, objects × u32 · SHA-1 of all before
 *
 * Bitmaps are as ewah.ts has them. Path hashes and places are not looked at.
 *
 * Spec: git's Documentation/technical/bitmap-format.
 */
export class BitmapFile {
  /** Entries. */
  readonly count: number
  readonly #order: BitOrder
  readonly #types: readonly Ewah[]
  /** By entry: bit of the commit, distance, bitmap. */
  readonly #commits: Uint32Array
  readonly #distances: Uint8Array
  readonly #bitmaps: Ewah[] = []
  /** By bit of the commit. */
  readonly #entries = new Map<number, number>()

  private constructor(order: BitOrder, file: Buffer) {
    this.#order = order
    const flags = file.readUInt16BE(6)
    this.count = file.readUInt32BE(8)
    const body = file.subarray(0, file.length - checksumBytes)
    let at = headerBytes
    const next = (): Ewah => {
      const { ewah, end } = readEwah(body, at, order.count)
      at = end
      return ewah
    }
    this.#types = [next(), next(), next(), next()]
    if (this.count * entryBytes > body.length) throw corrupt('is cut off')
    this.#commits = new Uint32Array(this.count)
    this.#distances = new Uint8Array(this.count)
    for (let entry = 0; entry < this.count; entry++) {
      if (at + entryBytes > body.length) throw corrupt('is cut off')
      const row = file.readUInt32BE(at)
      const distance = file[at + 4]!
      if (row >= order.count) throw corrupt('has a commit beyond its objects')
      if (distance > Math.min(entry, maxXorDistance)) throw corrupt('has a bitmap that differs from none')
      at += entryBytes
      this.#bitmaps.push(next())
      this.#distances[entry] = distance
      this.#commits[entry] = order.bitOfRow(row)
      this.#entries.set(order.bitOfRow(row), entry)
    }
    if (this.#entries.size !== this.count) throw corrupt('has a commit twice')
    const places = flags & placesFlag ? this.count * placeBytes : 0
    const hashes = flags & hashesFlag ? order.count * 4 : 0
    if (at + places + hashes !== body.length) throw corrupt('has another length than its parts')
  }

  /**
   * Opens a file about the objects of `order`. Takes the memory that the file takes.
   * @throws ProtocolError `corrupt`, also when it is about others
   */
  static open(bytes: Uint8Array, order: BitOrder): BitmapFile {
    const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    if (file.length < headerBytes + checksumBytes) throw corrupt('is cut off')
    if (file.toString('latin1', 0, 4) !== 'BITM') throw corrupt('is none')
    if (file.readUInt16BE(4) !== 1) throw corrupt(`has version ${file.readUInt16BE(4)}`)
    const flags = file.readUInt16BE(6)
    if ((flags & ~(hashesFlag | placesFlag)) !== closedFlag) throw corrupt(`has flags ${flags}`)
    if (!file.subarray(12, 32).equals(order.checksum)) throw corrupt('is of other objects')
    if (!isSealed(file)) throw corrupt('does not match its checksum')
    return new BitmapFile(order, file)
  }

  /** Bits of the commits that have a bitmap, in the order of the file. */
  get commits(): Uint32Array {
    return this.#commits
  }

  /** True when the commit of this bit has a bitmap. */
  has(commit: number): boolean {
    return this.#entries.has(commit)
  }

  /** All that can be reached from the commit of this bit, itself included; undefined: it has no bitmap. */
  reachableFrom(commit: number): BitSet | undefined {
    let entry = this.#entries.get(commit)
    if (entry === undefined) return undefined
    const set = new BitSet(this.#order.count)
    // Each is what differs from another further up, down to one that is kept whole.
    for (;;) {
      set.xor(this.#bitmaps[entry]!)
      const distance = this.#distances[entry]!
      if (distance === 0) return set
      entry -= distance
    }
  }

  /** All objects of a type. */
  ofType(type: ObjectType): BitSet {
    const set = new BitSet(this.#order.count)
    set.or(this.#types[type - 1]!)
    return set
  }
}

const corrupt = (what: string): ProtocolError => new ProtocolError('corrupt', `bitmap file ${what}`)
