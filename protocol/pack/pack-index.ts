/**
 * What is known of a whole, checked pack, in columns. A rank counts in pack order, a row in the order of the oids; both from 0.
 */
export interface PackIndex {
  readonly count: number
  readonly packBytes: number
  /** The trailer, 20 bytes. */
  readonly packSha1: Uint8Array
  /** By rank: first byte of the entry in the pack. */
  readonly offsets: Float64Array
  /** By rank: bytes of the object itself, also where a delta is stored. */
  readonly sizes: Float64Array
  /** By rank: 1-4 the object's type; bit 7: stored as REF_DELTA. */
  readonly types: Uint8Array
  /** By rank: rank of the delta base, -1: stored whole. */
  readonly bases: Int32Array
  /** By rank: CRC-32 of the entry as stored. */
  readonly crcs: Uint32Array
  /** By rank: 20 bytes each. */
  readonly oids: Uint8Array
  readonly rankOfRow: Uint32Array
  readonly rowOfRank: Uint32Array
}

/** Bit 7 of a type: the entry is a REF_DELTA. */
export const refDeltaBit = 0x80

/** A pack's bytes in memory or in a file. */
export interface ByteSource {
  /** May grow between calls. */
  readonly length: number
  /** False: more is to come. Absent: this is all. */
  readonly whole?: boolean
  /** Bytes `from` to `to`, exclusive; valid until the next read. */
  read(from: number, to: number): Uint8Array
}
