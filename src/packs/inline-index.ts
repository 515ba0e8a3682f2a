import { ProtocolError } from '../../protocol/errors.js'
import { ObjectTable } from '../../protocol/pack/object-table.js'
import { firstSlot, nextSlot, numberOfSlot, rowOfSlot } from './overlay.js'
import type { GrowingFile } from './file-slot.js'
import type { HeldBytes, PackFiles } from './pack-file.js'

/** Where an inline pack's table and bytes are, six numbers each. Segment -1: in the file. */
export const placeFields = { tableSegment: 0, tableOffset: 1, tableBytes: 2, packSegment: 3, packOffset: 4, packBytes: 5 } as const
export const placeWidth = 6

/** The inline packs of a repository as they stood at some moment. What came later is there as well and is passed over. */
export interface InlineIndex {
  readonly slots: Int32Array
  readonly seed: number
  readonly segments: readonly SharedArrayBuffer[]
  readonly places: Float64Array
  /** By number; a worker opens them as they are needed. */
  readonly tables: (ObjectTable | undefined)[]
  readonly path: string | undefined
}

/** Where an object was found; -1: nowhere. */
export interface InlineHit {
  number: number
  row: number
}

export const tableOfNumber = (index: InlineIndex, number: number): ObjectTable => {
  const at = number * placeWidth
  return (index.tables[number] ??= ObjectTable.openChecked(
    new Uint8Array(
      index.segments[index.places[at + placeFields.tableSegment]!]!,
      index.places[at + placeFields.tableOffset],
      index.places[at + placeFields.tableBytes],
    ),
  ))
}

/**
 * Finds an object in the packs that `ordinals` knows (-1: not in this snapshot), of `credit` 1 only when asked.
 * Duplicates stand in one slot each, so a garbage copy never hides a live one.
 */
export function findInline(
  index: InlineIndex,
  ordinals: Int32Array,
  credit: Uint8Array,
  oid: Uint8Array,
  creditOnly: boolean,
  hit: InlineHit,
): boolean {
  for (let slot = firstSlot(index.slots, index.seed, oid); slot !== -1; slot = nextSlot(index.slots, slot)) {
    const number = numberOfSlot(index.slots, slot)
    if (number >= ordinals.length || ordinals[number] === -1 || (creditOnly && credit[number] === 0)) continue
    const table = tableOfNumber(index, number)
    const row = rowOfSlot(index.slots, slot)
    if (!sameOid(table.bytes, table.oidsAt(row), oid)) continue
    hit.number = number
    hit.row = row
    return true
  }
  return false
}

function sameOid(bytes: Uint8Array, at: number, oid: Uint8Array): boolean {
  for (let i = 0; i < 20; i++) if (bytes[at + i] !== oid[i]) return false
  return true
}

/** The bytes of a repository's inline packs, in memory or in the file. */
export class InlineReader {
  readonly #files: PackFiles
  readonly #opened = new Map<number, HeldBytes>()
  #file: GrowingFile | undefined

  constructor(files: PackFiles) {
    this.#files = files
  }

  /** As `PackBytes.read`, of the pack with this number. */
  read({ places, segments, path }: InlineIndex, number: number, from: number, to: number): Promise<Uint8Array> {
    const at = number * placeWidth
    const segment = places[at + placeFields.packSegment]!
    const offset = places[at + placeFields.packOffset]!
    const bytes = places[at + placeFields.packBytes]!
    if (!(from >= 0 && from <= to && to <= bytes)) {
      return Promise.reject(new ProtocolError('corrupt', `bytes ${from} to ${to} lie outside inline pack ${number} of ${bytes} bytes`))
    }
    if (segment >= 0) return Promise.resolve(new Uint8Array(segments[segment]!, offset + from, to - from))
    let pack = this.#opened.get(number)
    if (!pack) {
      this.#file ??= this.#files.openGrowing(path!)
      const file = this.#file
      // A pack is smaller than a window: one read fetches it whole.
      pack = this.#files.open({ name: `inline pack ${number}`, bytes, from: (start, end) => file.read(offset + start, offset + end) })
      this.#opened.set(number, pack)
    }
    return pack.read(from, to)
  }

  close(): void {
    for (const pack of this.#opened.values()) pack.drop()
    this.#opened.clear()
    void this.#file?.close()
    this.#file = undefined
  }
}
