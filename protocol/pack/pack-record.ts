import type { Entry } from '../ports.js'
import type { ObjectType } from '../types.js'
import { orderIndex } from './order-index.js'
import { noEntry, PackColumns, type ColumnsState } from './pack-columns.js'
import type { PackIndex } from './pack-index.js'

/** By pack ordinal and rank: the CRC-32 of an entry as it was stored, written down when it was. In shared memory. */
export type StoredCrcs = readonly (Uint32Array | undefined)[]

/** What a written entry is, and where. */
export interface WrittenEntry {
  readonly offset: number
  /** Where its delta base begins; 0: stored whole. */
  readonly baseOffset: number
  readonly type: ObjectType
  /** Of the object, bytes. */
  readonly size: number
  /** Of the entry as it stands in the new pack. */
  readonly crc: number
}

/**
 * What the writer of a pack tells of it, so that its index is known without looking at the pack again; and what it holds stored entries
 * against, so that nothing goes into a new pack with new checksums that is not what the old ones are of.
 */
export class PackRecord {
  readonly #crcs: StoredCrcs
  #columns = new PackColumns(0)

  constructor(crcs: StoredCrcs) {
    this.#crcs = crcs
  }

  /** For another thread, once the pack is written. */
  get columns(): ColumnsState {
    return this.#columns.state()
  }

  /** Of so many objects. */
  begin(count: number): void {
    this.#columns = new PackColumns(count)
  }

  /** Whether the entry's CRC-32 is what was written down. */
  agrees(entry: Entry, pack: number, crc: number): boolean {
    return this.#crcs[pack]?.[entry >>> 0] === crc
  }

  /** The next entry. Writes down the 20 bytes of its name that begin `oid`. */
  add(oid: Uint8Array, { offset, baseOffset, type, size, crc }: WrittenEntry): void {
    const columns = this.#columns
    const rank = columns.append()
    columns.offsets[rank] = offset
    columns.sizes[rank] = size
    columns.types[rank] = type
    columns.bases[rank] = baseOffset === 0 ? noEntry : columns.rankAt(baseOffset)
    columns.crcs[rank] = crc
    for (let i = 0, at = rank * 20; i < 20; i++) columns.oids[at + i] = oid[i]!
  }
}

/** The index of a pack of `bytes` bytes that ends with `sha1`, and was recorded. @throws ProtocolError `bad-pack` when an object is there twice */
export function indexOfRecord(columns: ColumnsState, sha1: Uint8Array, bytes: number): PackIndex {
  return orderIndex(new PackColumns(columns.count, columns), sha1, bytes)
}
