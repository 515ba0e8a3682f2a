import { crc32, deflate, deflateSync } from 'node:zlib'
import type { EntryList } from '../entry-list.js'
import type { ReachBitmaps } from '../bitmap/enumerate-by-bitmaps.js'
import { enumerateObjects } from '../enumerate.js'
import { objectBits } from '../object-bits.js'
import { hashObject } from '../objects/hash.js'
import type { ObjectSet } from '../object-set.js'
import { entryAt, packOf, type Entry, type PackRequest, type PackView, type WorkOptions } from '../ports.js'
import { objectTypes } from '../types.js'
import { encodeEntryHeader, encodeOfsDistance, maxHeaderBytes, packHeaderBytes } from './entry.js'
import { PackOutput } from './pack-output.js'
import type { PackRecord } from './pack-record.js'
import { createObjectReader, type ObjectReader } from './reader.js'
import { ReadWindow, windowBytes } from './read-window.js'
import { corruptObject, storedHeader } from './stored-header.js'

/** Larger objects are compressed beside this thread, bytes. */
const largeBytes = 256 * 1024
/** Up to here an entry is copied in one piece, bytes. */
const smallBytes = 64 * 1024
/** What a header of our own may take more than the stored one. */
const roomForHeader = maxHeaderBytes + 32

/** How a copied entry refers to its base; `as stored`: it has none. */
type Lean = 'as stored' | 'by offset' | 'by name' | 'nothing'

function deflateBeside(data: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => deflate(data, (error, deflated) => (error ? reject(error) : resolve(deflated))))
}

/**
 * The pack that answers a fetch. Stored entries are copied as they are, compressed bytes and deltas; only what refers to a base is written
 * anew, because the base stands elsewhere now. A delta whose base is neither sent nor had by the client is sent as the whole object.
 * `bitmaps`: of the view.
 */
export async function* answerPack(view: PackView, request: PackRequest, options: WorkOptions, bitmaps?: ReachBitmaps): AsyncGenerator<Uint8Array> {
  const objects = await enumerateObjects(view, request, options, { bitmaps })
  options.onProgress?.({ title: 'Counting objects', done: objects.count, total: objects.count })
  yield* writePack(view, request, objects, options)
}

export interface PackForm extends Pick<PackRequest, 'thinPack' | 'ofsDelta' | 'filter'> {
  /** Deltas one upon the other, at most; beyond, an object is written whole. Undefined: as long as they are stored. */
  readonly maxChain?: number
}

/**
 * A pack of these objects, as they are stored. With `record`, which is to have offsets in place of names for bases, each is held against what is
 * known of it.
 * @throws ProtocolError `corrupt`, `cancelled`
 */
export function writePack(view: PackView, form: PackForm, objects: ObjectSet, options: WorkOptions, record?: PackRecord): AsyncGenerator<Uint8Array> {
  return new PackWriter(view, form, objects, options, record).write()
}

class PackWriter {
  readonly #view: PackView
  readonly #form: PackForm
  readonly #objects: ObjectSet
  readonly #options: WorkOptions
  readonly #output: PackOutput
  readonly #window: ReadWindow
  readonly #reader: ObjectReader
  /** By pack and rank: where an object stands in the output; 0: nowhere yet. */
  readonly #positions: (Float64Array | undefined)[]
  /** By pack that was written as it stands: how much further on its entries stand in the output. */
  readonly #shifts: (number | undefined)[] = []
  /** The same for how many deltas it stands on; counted only when they are limited. */
  readonly #depths: (Uint16Array | undefined)[]
  readonly #record: PackRecord | undefined
  readonly #oid = Buffer.alloc(20)

  constructor(view: PackView, form: PackForm, objects: ObjectSet, options: WorkOptions, record?: PackRecord) {
    this.#view = view
    this.#form = form
    this.#objects = objects
    this.#options = options
    this.#record = record
    this.#record?.begin(objects.count)
    this.#output = new PackOutput(objects.count)
    this.#window = new ReadWindow(view)
    this.#reader = createObjectReader(view)
    this.#positions = Array.from({ length: view.packCount }, () => undefined)
    this.#depths = Array.from({ length: view.packCount }, () => undefined)
  }

  async *write(): AsyncGenerator<Uint8Array> {
    const { commits, tags, trees, blobs, whole = [] } = this.#objects
    const { ofsDelta, maxChain } = this.#form
    if (ofsDelta && maxChain === undefined) for (const pack of whole) yield* this.#copyPack(pack)
    for (const list of [commits, tags, trees, blobs]) yield* this.#writeAll(list)
    yield this.#output.take()
    yield this.#output.trailer()
  }

  async *#writeAll(list: EntryList): AsyncGenerator<Uint8Array> {
    const { slices } = this.#options
    const entries = list.view()
    const chain: Entry[] = []
    for (const entry of entries) {
      if (this.#positionOf(entry) !== 0) continue
      this.#chainOf(entry, chain)
      for (let next = chain.pop(); next !== undefined; next = chain.pop()) {
        const base = this.#baseOf(next)
        const lean = this.#leanOf(next, base)
        if (lean === 'nothing') yield* this.#writeWhole(next)
        else if (!this.#copyNow(next, base, lean)) yield* this.#copy(next, base, lean)
      }
      const pause = slices.pause()
      if (pause) await pause
    }
  }

  /** All entries of a pack as they stand: a base keeps its distance. */
  async *#copyPack(pack: number): AsyncGenerator<Uint8Array> {
    const output = this.#output
    const end = this.#view.endOf(entryAt(pack, this.#view.objectsIn(pack) - 1))
    this.#shifts[pack] = output.position - packHeaderBytes
    for (let from = packHeaderBytes; from < end; ) {
      const bytes = await this.#view.read(pack, from, Math.min(end, from + windowBytes))
      if (bytes.length === 0) throw corruptObject(this.#view, entryAt(pack, this.#view.objectsIn(pack) - 1), 'is cut off')
      from += bytes.length
      for (let done = 0; done < bytes.length; ) {
        if (!output.hasRoom(1)) yield output.take()
        done += output.writeSome(bytes, done)
      }
      const pause = this.#options.slices.pause()
      if (pause) await pause
    }
  }

  /** The entry, and before it the bases it needs that are not written yet: the last is to be written first. */
  #chainOf(entry: Entry, chain: Entry[]): void {
    chain.push(entry)
    for (let base = this.#baseOf(entry); this.#is(base, objectBits.included) && this.#positionOf(base) === 0; base = this.#baseOf(base)) {
      // Copies in several packs can lean on each other: then one of them goes whole.
      if (chain.includes(base)) return
      chain.push(base)
    }
  }

  /** The base of a stored delta as the one entry by which that object is found, whatever pack the delta stands in; -1: there is none. */
  #baseOf(entry: Entry): Entry {
    const base = this.#view.baseOf(entry)
    // What is marked was found by its name before.
    if (base === -1 || this.#objects.marks.get(base) !== 0) return base
    return this.#objects.find(this.#nameOf(base))
  }

  #is(entry: Entry, bit: number): boolean {
    return entry !== -1 && (this.#objects.marks.get(entry) & bit) !== 0
  }

  /** How the entry is to refer to its base; `nothing`: it cannot, and is written whole. */
  #leanOf(entry: Entry, base: Entry): Lean {
    if (base === -1) return 'as stored'
    const isWritten = this.#positionOf(base) !== 0
    if (isWritten && !this.#mayDeepen(entry, base)) return 'nothing'
    if (isWritten && this.#form.ofsDelta) return 'by offset'
    return isWritten || this.#mayLeanOn(base) ? 'by name' : 'nothing'
  }

  /** The client has the base and can do with its name. What a filter once left out of a partial clone is not there to be leant on. */
  #mayLeanOn(base: Entry): boolean {
    const { thinPack, filter } = this.#form
    if (!thinPack || !this.#is(base, objectBits.had)) return false
    return !filter || this.#view.typeOf(base) === objectTypes.commit
  }

  /** Whether the chain below the entry is short enough for one more. */
  #mayDeepen(entry: Entry, base: Entry): boolean {
    const { maxChain } = this.#form
    if (maxChain === undefined) return true
    const depth = (this.#depths[packOf(base)]?.[base >>> 0] ?? 0) + 1
    if (depth > maxChain) return false
    const pack = packOf(entry)
    const depths = (this.#depths[pack] ??= new Uint16Array(this.#view.objectsIn(pack)))
    depths[entry >>> 0] = depth
    return true
  }

  /** The stored bytes, behind a header of our own where they refer to a base. False: they are not at hand, or have no room, and nothing was done. */
  #copyNow(entry: Entry, base: Entry, lean: Lean): boolean {
    const window = this.#window
    const output = this.#output
    const pack = packOf(entry)
    const from = this.#view.offsetOf(entry)
    const to = this.#view.endOf(entry)
    if (!window.has(pack, from, to) || !output.hasRoom(to - from + roomForHeader)) return false
    const at = from - window.from
    const stored = window.bytes.subarray(at, at + to - from)
    const { headerBytes, size } = storedHeader(this.#view, window, entry, to)
    const crc = this.#record ? crc32(stored) : 0
    this.#checkCrc(entry, crc)
    const before = output.position
    const header = lean === 'as stored' ? undefined : this.#headerOf(base, lean, size)
    this.#place(entry)
    if (!header || header.equals(stored.subarray(0, headerBytes))) {
      output.write(stored)
      this.#note(entry, base, before, crc)
    } else {
      const body = stored.subarray(headerBytes)
      output.write(header)
      output.write(body)
      if (this.#record) this.#note(entry, base, before, crc32(body, crc32(header)))
    }
    return true
  }

  /** The same in parts. */
  async *#copy(entry: Entry, base: Entry, lean: Lean): AsyncGenerator<Uint8Array> {
    const view = this.#view
    const output = this.#output
    const pack = packOf(entry)
    const from = view.offsetOf(entry)
    const to = view.endOf(entry)
    const window = this.#window
    const firstEnd = Math.min(to, from + windowBytes)
    if (!window.has(pack, from, firstEnd)) await window.load(pack, from, firstEnd)
    if (!output.hasRoom(Math.min(to - from, smallBytes) + roomForHeader)) yield output.take()
    if (to - from <= smallBytes && this.#copyNow(entry, base, lean)) return
    const { headerBytes, size } = storedHeader(view, window, entry, firstEnd)
    const before = output.position
    const at = from - window.from
    const oldHeader = window.bytes.subarray(at, at + headerBytes)
    const header = lean === 'as stored' ? oldHeader : this.#headerOf(base, lean, size)
    let [storedCrc, crc] = this.#record ? [crc32(oldHeader), crc32(header)] : [0, 0]
    this.#place(entry)
    output.write(header)
    let bytes = window.bytes.subarray(at + headerBytes, at + firstEnd - from)
    for (let next = firstEnd; ; next += bytes.length) {
      if (this.#record) [storedCrc, crc] = [crc32(bytes, storedCrc), crc32(bytes, crc)]
      for (let done = 0; done < bytes.length; ) {
        if (!output.hasRoom(1)) yield output.take()
        done += output.writeSome(bytes, done)
      }
      if (next === to) break
      bytes = await view.read(pack, next, Math.min(to, next + windowBytes))
      if (bytes.length === 0) throw corruptObject(this.#view, entry, 'is cut off')
    }
    this.#checkCrc(entry, storedCrc)
    this.#note(entry, base, before, crc)
  }

  async *#writeWhole(entry: Entry): AsyncGenerator<Uint8Array> {
    const output = this.#output
    const { type, data } = this.#reader.readNow(entry) ?? (await this.#reader.read(entry))
    if (this.#record && !hashObject(type, data).equals(this.#nameOf(entry))) throw corruptObject(this.#view, entry, 'does not read back as itself')
    const deflated = data.length > largeBytes ? await deflateBeside(data) : deflateSync(data)
    if (!output.hasRoom(maxHeaderBytes)) yield output.take()
    const before = output.position
    const header = encodeEntryHeader(type, data.length)
    this.#place(entry)
    output.write(header)
    for (let done = 0; done < deflated.length; ) {
      if (!output.hasRoom(1)) yield output.take()
      done += output.writeSome(deflated, done)
    }
    if (this.#record) this.#note(entry, -1, before, crc32(deflated, crc32(header)))
  }

  #headerOf(base: Entry, lean: Lean, size: number): Buffer {
    return lean === 'by offset'
      ? Buffer.concat([encodeEntryHeader(6, size), encodeOfsDistance(this.#output.position - this.#positionOf(base))])
      : Buffer.concat([encodeEntryHeader(7, size), this.#nameOf(base)])
  }

  #checkCrc(entry: Entry, crc: number): void {
    if (this.#record && !this.#record.agrees(entry, packOf(entry), crc))
      throw corruptObject(this.#view, entry, 'is not stored as it was once written down')
  }

  #note(entry: Entry, base: Entry, offset: number, crc: number): void {
    if (!this.#record) return
    const baseOffset = base === -1 ? 0 : this.#positionOf(base)
    this.#record.add(this.#nameOf(entry), { offset, baseOffset, type: this.#view.typeOf(entry), size: this.#view.sizeOf(entry), crc })
  }

  #place(entry: Entry): void {
    const pack = packOf(entry)
    const positions = (this.#positions[pack] ??= new Float64Array(this.#view.objectsIn(pack)))
    positions[entry >>> 0] = this.#output.position
  }

  #positionOf(entry: Entry): number {
    const pack = packOf(entry)
    const shift = this.#shifts[pack]
    return shift === undefined ? (this.#positions[pack]?.[entry >>> 0] ?? 0) : shift + this.#view.offsetOf(entry)
  }

  /** Valid until the next call. */
  #nameOf(entry: Entry): Buffer {
    this.#view.oidOf(entry, this.#oid)
    return this.#oid
  }
}
