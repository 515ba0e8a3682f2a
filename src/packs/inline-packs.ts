import { randomUUID } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ObjectTable } from '../../protocol/pack/object-table.js'
import { InlineReader, placeFields, placeWidth, type InlineIndex } from './inline-index.js'
import { Overlay } from './overlay.js'
import type { PackFiles } from './pack-file.js'

export interface InlinePacksOptions {
  readonly files: PackFiles
  /** Folder for the bytes that memory has no room for. */
  readonly directory: string
  /** Pack bytes kept in memory. */
  readonly memoryBytes: number
}

export interface InlineBytes {
  readonly pack: Uint8Array
  readonly table: Uint8Array
}

const smallestSegment = 64 * 1024
const largestSegment = 1024 * 1024

/**
 * The inline packs of one repository: tables in shared memory, bytes in shared memory up to a bound and in one file beyond it.
 * Everything is appended and nothing changes where it stands, so `index()` of any moment stays true.
 * A pack gets the next number, and a new one when its row changes; no number is used twice.
 */
export class InlinePacks {
  readonly #options: InlinePacksOptions
  readonly #overlay = new Overlay()
  readonly #segments: SharedArrayBuffer[] = []
  readonly #tables: ObjectTable[] = []
  #places = new Float64Array(new SharedArrayBuffer(64 * placeWidth * 8))
  #alive: boolean[] = []
  #free = 0
  #memory = 0
  #path: string | undefined
  #fileBytes = 0
  #dead = 0

  constructor(options: InlinePacksOptions) {
    this.#options = options
    this.reader = new InlineReader(options.files)
  }

  /** Reads the bytes of these packs; shared by all snapshots. */
  readonly reader: InlineReader

  /** Numbers given so far. */
  get count(): number {
    return this.#tables.length
  }

  /** Memory held, bytes. */
  get bytes(): number {
    return (
      this.#segments.reduce((sum, segment) => sum + segment.byteLength, 0) +
      this.#overlay.bytes +
      this.#places.byteLength +
      this.count * objectOverhead
    )
  }

  /** Memory held for packs that are gone, bytes. */
  get deadBytes(): number {
    return this.#dead
  }

  /** The file beside memory, if there is one yet. */
  get path(): string | undefined {
    return this.#path
  }

  /**
   * Adds packs and gives them numbers, in order.
   * @throws ProtocolError `corrupt` for a table that is none; then nothing was added
   */
  async add(packs: readonly InlineBytes[]): Promise<number[]> {
    const places = packs.map(({ table }) => {
      const [segment, offset] = this.#store(table)
      return { segment, offset, table: ObjectTable.open(new Uint8Array(this.#segments[segment]!, offset, table.length)) }
    })
    let room = this.#options.memoryBytes - this.#memory
    const inMemory = packs.map(({ pack }) => {
      if (pack.length > room) return false
      room -= pack.length
      return true
    })
    const fileOffsets = await this.#append(packs.filter((_, i) => !inMemory[i]).map(({ pack }) => pack))
    this.#memory = this.#options.memoryBytes - room
    let spilled = 0
    return packs.map(({ pack }, i) => {
      const { segment, offset, table } = places[i]!
      const [packSegment, packOffset] = inMemory[i] ? this.#store(pack) : [-1, fileOffsets[spilled++]!]
      return this.#number(table, [segment, offset, table.bytes.length, packSegment, packOffset, pack.length])
    })
  }

  /** The same pack under a new number, for a row that changed. The old number is to be retired. */
  renew(number: number): number {
    return this.#number(this.#tables[number]!, [...this.#places.subarray(number * placeWidth, (number + 1) * placeWidth)])
  }

  retire(number: number, { gone }: { readonly gone: boolean }): void {
    this.#alive[number] = false
    if (!gone) return
    const place = number * placeWidth
    const inMemory = this.#places[place + placeFields.packSegment]! >= 0
    this.#dead += this.#tables[number]!.bytes.length + (inMemory ? this.#places[place + placeFields.packBytes]! : 0)
  }

  /** What there is now, for a snapshot. */
  index(): InlineIndex {
    return {
      slots: this.#overlay.slots,
      seed: this.#overlay.seed,
      segments: this.#segments,
      places: this.#places,
      tables: this.#tables,
      path: this.#path,
    }
  }

  /** Closes and removes the file. Never throws. */
  async dispose(): Promise<void> {
    this.reader.close()
    if (this.#path !== undefined) await rm(this.#path, { force: true }).catch(() => {})
  }

  #number(table: ObjectTable, place: readonly number[]): number {
    const number = this.#tables.length
    if ((number + 1) * placeWidth > this.#places.length) {
      const larger = new Float64Array(new SharedArrayBuffer(this.#places.byteLength * 2))
      larger.set(this.#places)
      this.#places = larger
    }
    this.#places.set(place, number * placeWidth)
    this.#tables.push(table)
    this.#alive.push(true)
    this.#overlay.reserve(table.count, (other) => this.#alive[other]!)
    for (let row = 0; row < table.count; row++) this.#overlay.insert(table.bytes, table.oidsAt(row), row, number)
    return number
  }

  /** Copies bytes into shared memory, at a multiple of 8. */
  #store(bytes: Uint8Array): [segment: number, offset: number] {
    const needed = Math.ceil(bytes.length / 8) * 8
    const last = this.#segments.at(-1)
    if (!last || this.#free + needed > last.byteLength) {
      const size = Math.min(largestSegment, last ? last.byteLength * 2 : smallestSegment)
      this.#segments.push(new SharedArrayBuffer(Math.max(needed, size)))
      this.#free = 0
    }
    const segment = this.#segments.length - 1
    const offset = this.#free
    new Uint8Array(this.#segments[segment]!, offset, bytes.length).set(bytes)
    this.#free += needed
    return [segment, offset]
  }

  /** Writes packs behind what the file has. Returns their offsets. */
  async #append(packs: readonly Uint8Array[]): Promise<number[]> {
    if (packs.length === 0) return []
    if (this.#path === undefined) {
      await mkdir(this.#options.directory, { recursive: true, mode: 0o700 })
      this.#path = join(this.#options.directory, `${randomUUID()}.packs`)
    }
    let end = this.#fileBytes
    const offsets = packs.map((pack) => {
      end += pack.length
      return end - pack.length
    })
    const joined = Buffer.concat(packs)
    const file = await open(this.#path, this.#fileBytes === 0 ? 'w' : 'r+', 0o600)
    try {
      for (let done = 0; done < joined.length; ) {
        done += (await file.write(joined, done, joined.length - done, this.#fileBytes + done)).bytesWritten
      }
    } finally {
      await file.close()
    }
    this.#fileBytes = end
    return offsets
  }
}

/** What an ObjectTable and its views take on the JavaScript heap, roughly. */
const objectOverhead = 2048
