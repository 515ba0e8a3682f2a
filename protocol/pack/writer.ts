import { deflate, deflateSync } from 'node:zlib'
import type { EntryList } from '../entry-list.js'
import { enumerateObjects, type ObjectSet } from '../enumerate.js'
import { ProtocolError } from '../errors.js'
import { objectBits } from '../object-bits.js'
import { oidFromBytes } from '../oid.js'
import { packOf, type AnswerPack, type Entry, type PackRequest, type PackView, type WorkOptions } from '../ports.js'
import { objectTypes } from '../types.js'
import { decodeEntryHeader, encodeEntryHeader, encodeOfsDistance, maxHeaderBytes, type EntryHeader } from './entry.js'
import { PackOutput } from './pack-output.js'
import { createObjectReader, type ObjectReader } from './reader.js'
import { ReadWindow, windowBytes } from './read-window.js'

/** Larger objects are compressed beside this thread, bytes. */
const largeBytes = 256 * 1024

function deflateBeside(data: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => deflate(data, (error, deflated) => (error ? reject(error) : resolve(deflated))))
}

/**
 * The pack that answers a fetch. Stored entries are copied as they are, compressed bytes and deltas; only what refers to a base is written
 * anew, because the base stands elsewhere now. A delta whose base is neither sent nor had by the client is sent as the whole object.
 */
export const answerPack: AnswerPack = async function* (view, request, options) {
  const objects = await enumerateObjects(view, request, options)
  options.onProgress?.({ title: 'Counting objects', done: objects.count, total: objects.count })
  yield* writePack(view, request, objects, options)
}

export interface PackForm extends Pick<PackRequest, 'thinPack' | 'ofsDelta' | 'filter'> {
  /** Deltas one upon the other, at most; beyond, an object is written whole. Undefined: as long as they are stored. */
  readonly maxChain?: number
}

/** A pack of these objects, as they are stored. @throws ProtocolError `corrupt`, `cancelled` */
export function writePack(view: PackView, form: PackForm, objects: ObjectSet, options: WorkOptions): AsyncGenerator<Uint8Array> {
  return new PackWriter(view, form, objects, options).write()
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
  /** The same for how many deltas it stands on; counted only when they are limited. */
  readonly #depths: (Uint16Array | undefined)[]
  readonly #oid = Buffer.alloc(20)

  constructor(view: PackView, form: PackForm, objects: ObjectSet, options: WorkOptions) {
    this.#view = view
    this.#form = form
    this.#objects = objects
    this.#options = options
    this.#output = new PackOutput(objects.count)
    this.#window = new ReadWindow(view)
    this.#reader = createObjectReader(view)
    this.#positions = Array.from({ length: view.packCount }, () => undefined)
    this.#depths = Array.from({ length: view.packCount }, () => undefined)
  }

  async *write(): AsyncGenerator<Uint8Array> {
    const { commits, tags, trees, blobs } = this.#objects
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
      for (let next = chain.pop(); next !== undefined; next = chain.pop()) yield* this.#writeEntry(next)
      const pause = slices.pause()
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
    return this.#view.find(this.#nameOf(base), 'read')
  }

  #is(entry: Entry, bit: number): boolean {
    return entry !== -1 && (this.#objects.marks.get(entry) & bit) !== 0
  }

  async *#writeEntry(entry: Entry): AsyncGenerator<Uint8Array> {
    const base = this.#baseOf(entry)
    const basePosition = base === -1 ? 0 : this.#positionOf(base)
    if (base === -1) {
      yield* this.#copy(entry, () => encodeEntryHeader(this.#view.typeOf(entry), this.#view.sizeOf(entry)))
    } else if (basePosition !== 0 && !this.#mayDeepen(entry, base)) {
      yield* this.#writeWhole(entry)
    } else if (basePosition !== 0 && this.#form.ofsDelta) {
      yield* this.#copy(entry, ({ size }) => Buffer.concat([encodeEntryHeader(6, size), encodeOfsDistance(this.#output.position - basePosition)]))
    } else if (basePosition !== 0 || this.#mayLeanOn(base)) {
      yield* this.#copy(entry, ({ size }) => Buffer.concat([encodeEntryHeader(7, size), this.#nameOf(base)]))
    } else {
      yield* this.#writeWhole(entry)
    }
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

  /** The stored bytes behind a header of our own. */
  async *#copy(entry: Entry, header: (stored: EntryHeader) => Buffer): AsyncGenerator<Uint8Array> {
    const view = this.#view
    const output = this.#output
    const pack = packOf(entry)
    const from = view.offsetOf(entry)
    const to = view.endOf(entry)
    const window = this.#window
    const firstEnd = Math.min(to, from + windowBytes)
    if (!window.has(pack, from, firstEnd)) await window.load(pack, from, firstEnd)
    const at = from - window.from
    const stored = this.#storedHeader(entry, firstEnd)
    if (!output.hasRoom(maxHeaderBytes + 32)) yield output.take()
    this.#place(entry)
    output.write(header(stored))
    const body = window.bytes.subarray(at + stored.headerBytes, at + firstEnd - from)
    for (let done = 0; done < body.length; ) {
      if (!output.hasRoom(1)) yield output.take()
      done += output.writeSome(body, done)
    }
    for (let next = firstEnd; next < to; ) {
      const bytes = await view.read(pack, next, Math.min(to, next + windowBytes))
      if (bytes.length === 0) throw this.#corrupt(entry, 'is cut off')
      next += bytes.length
      for (let done = 0; done < bytes.length; ) {
        if (!output.hasRoom(1)) yield output.take()
        done += output.writeSome(bytes, done)
      }
    }
  }

  async *#writeWhole(entry: Entry): AsyncGenerator<Uint8Array> {
    const output = this.#output
    const { type, data } = this.#reader.readNow(entry) ?? (await this.#reader.read(entry))
    const deflated = data.length > largeBytes ? await deflateBeside(data) : deflateSync(data)
    if (!output.hasRoom(maxHeaderBytes)) yield output.take()
    this.#place(entry)
    output.write(encodeEntryHeader(type, data.length))
    for (let done = 0; done < deflated.length; ) {
      if (!output.hasRoom(1)) yield output.take()
      done += output.writeSome(deflated, done)
    }
  }

  /** The header of the entry in the window, whose bytes are there up to `end`. The table and the pack must agree before anything goes out. */
  #storedHeader(entry: Entry, end: number): EntryHeader {
    const view = this.#view
    const window = this.#window
    const from = view.offsetOf(entry)
    if (!window.has(packOf(entry), from, end)) throw this.#corrupt(entry, 'is cut off')
    let header: EntryHeader | undefined
    try {
      header = decodeEntryHeader(window.bytes, from - window.from, from)
    } catch (error) {
      throw this.#corrupt(entry, (error as Error).message, error)
    }
    if (!header || from + header.headerBytes > end) throw this.#corrupt(entry, 'is cut off')
    const base = view.baseOf(entry)
    let agrees: boolean
    if (base === -1) agrees = header.type === view.typeOf(entry) && header.size === view.sizeOf(entry)
    else if (header.baseOid) agrees = this.#nameOf(base).equals(header.baseOid)
    else agrees = header.baseOffset === view.offsetOf(base)
    if (!agrees) throw this.#corrupt(entry, 'is stored as something else than its table says')
    return header
  }

  #place(entry: Entry): void {
    const pack = packOf(entry)
    const positions = (this.#positions[pack] ??= new Float64Array(this.#view.objectsIn(pack)))
    positions[entry >>> 0] = this.#output.position
  }

  #positionOf(entry: Entry): number {
    return this.#positions[packOf(entry)]?.[entry >>> 0] ?? 0
  }

  /** Valid until the next call. */
  #nameOf(entry: Entry): Buffer {
    this.#view.oidOf(entry, this.#oid)
    return this.#oid
  }

  #corrupt(entry: Entry, what: string, cause?: unknown): ProtocolError {
    return new ProtocolError('corrupt', `object ${oidFromBytes(this.#nameOf(entry))} ${what}`, { cause })
  }
}
