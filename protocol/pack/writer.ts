import { createHash } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import type { EntryList } from '../entry-list.js'
import { enumerateObjects, objectBits, type ObjectSet } from '../enumerate.js'
import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import { packOf, type AnswerPack, type Entry, type PackRequest, type PackView, type WorkOptions } from '../ports.js'
import type { ObjectType } from '../types.js'
import { decodeEntryHeader, encodeEntryHeader, encodeOfsDistance, maxHeaderBytes, type EntryHeader } from './entry.js'
import { PackOutput } from './pack-output.js'
import { createObjectReader, type ObjectReader } from './reader.js'
import { ReadWindow, windowBytes } from './read-window.js'

/**
 * The pack that answers a fetch. Stored entries are copied as they are, compressed bytes and deltas; only what refers to a base is written
 * anew, because the base stands elsewhere now. A delta whose base is neither sent nor had by the client is sent as the whole object.
 */
export const answerPack: AnswerPack = async function* (view, request, options) {
  const objects = await enumerateObjects(view, request, options)
  options.onProgress?.({ title: 'Counting objects', done: objects.count, total: objects.count })
  const writer = new PackWriter(view, request, objects, options)
  yield* writer.write()
}

class PackWriter {
  readonly #view: PackView
  readonly #request: PackRequest
  readonly #objects: ObjectSet
  readonly #options: WorkOptions
  readonly #output: PackOutput
  readonly #window: ReadWindow
  readonly #reader: ObjectReader
  /** By pack and rank: where an object stands in the output; 0: nowhere yet. */
  readonly #positions: (Float64Array | undefined)[]
  readonly #oid = new Uint8Array(20)

  constructor(view: PackView, request: PackRequest, objects: ObjectSet, options: WorkOptions) {
    this.#view = view
    this.#request = request
    this.#objects = objects
    this.#options = options
    this.#output = new PackOutput(objects.count)
    this.#window = new ReadWindow(view)
    this.#reader = createObjectReader(view)
    this.#positions = Array.from({ length: view.packCount }, () => undefined)
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
      for (let next = chain.pop(); next !== undefined; next = chain.pop()) yield* this.#writeEntry(next, chain)
      const pause = slices.pause()
      if (pause) await pause
    }
  }

  /** The entry, and before it the bases it needs that are not written yet: the last is to be written first. */
  #chainOf(entry: Entry, chain: Entry[]): void {
    chain.push(entry)
    if (!this.#request.ofsDelta) return
    for (let base = this.#sentBase(entry); base !== -1 && this.#positionOf(base) === 0; base = this.#sentBase(base)) {
      // Copies in several packs can lean on each other: then one of them goes whole.
      if (chain.includes(base)) return
      chain.push(base)
    }
  }

  /** The base of a stored delta as the entry that is sent for it; -1: there is none, or it is not sent. */
  #sentBase(entry: Entry): Entry {
    const base = this.#canonicalBase(entry)
    return base !== -1 && this.#objects.marks.get(base) & objectBits.included ? base : -1
  }

  /** The one entry by which the base's object goes, whatever pack the delta stands in. */
  #canonicalBase(entry: Entry): Entry {
    const base = this.#view.baseOf(entry)
    if (base === -1) return -1
    this.#view.oidOf(base, this.#oid)
    return this.#view.find(this.#oid, 'read')
  }

  async *#writeEntry(entry: Entry, waiting: readonly Entry[]): AsyncGenerator<Uint8Array> {
    if (this.#positionOf(entry) !== 0) return
    const base = this.#canonicalBase(entry)
    if (base === -1) {
      yield* this.#copy(entry, () => encodeEntryHeader(this.#view.typeOf(entry), this.#view.sizeOf(entry)))
      return
    }
    const { included, had } = objectBits
    const bits = this.#objects.marks.get(base)
    const basePosition = this.#positionOf(base)
    if (bits & included && this.#request.ofsDelta && basePosition !== 0) {
      yield* this.#copy(entry, ({ size }) => Buffer.concat([encodeEntryHeader(6, size), encodeOfsDistance(this.#output.position - basePosition)]))
    } else if ((bits & included && !waiting.includes(base) && !this.#leadsBack(entry, base)) || (bits & had && this.#request.thinPack)) {
      this.#view.oidOf(base, this.#oid)
      yield* this.#copy(entry, ({ size }) => Buffer.concat([encodeEntryHeader(7, size), this.#oid]))
    } else {
      yield* this.#writeWhole(entry)
    }
  }

  /** Without OFS_DELTA nothing is put in order, so a ring of copies must be found by following it. */
  #leadsBack(entry: Entry, base: Entry): boolean {
    const seen = new Set<Entry>([entry])
    for (let at = base; at !== -1; at = this.#sentBase(at)) {
      if (seen.has(at)) return true
      if (this.#positionOf(at) !== 0 && !this.#isDeltaInOutput(at)) return false
      seen.add(at)
    }
    return false
  }

  #isDeltaInOutput(entry: Entry): boolean {
    return this.#view.baseOf(entry) !== -1
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
    const stored = decodeEntryHeader(window.bytes, at, from)
    if (!stored || stored.headerBytes > maxHeaderBytes) throw this.#corrupt(entry)
    this.#checkStored(entry, stored)
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
    const deflated = deflateSync(data)
    if (!output.hasRoom(maxHeaderBytes)) yield output.take()
    this.#place(entry)
    output.write(encodeEntryHeader(type, data.length))
    for (let done = 0; done < deflated.length; ) {
      if (!output.hasRoom(1)) yield output.take()
      done += output.writeSome(deflated, done)
    }
  }

  /** The table and the pack must agree before bytes are passed on under a name. */
  #checkStored(entry: Entry, { type, size }: EntryHeader): void {
    const isDelta = type === 6 || type === 7
    const wantsDelta = this.#view.baseOf(entry) !== -1
    if (isDelta !== wantsDelta || (!isDelta && (type !== this.#view.typeOf(entry) || size !== this.#view.sizeOf(entry)))) throw this.#corrupt(entry)
  }

  #place(entry: Entry): void {
    const pack = packOf(entry)
    const positions = (this.#positions[pack] ??= new Float64Array(this.#view.objectsIn(pack)))
    positions[entry >>> 0] = this.#output.position
  }

  #positionOf(entry: Entry): number {
    return this.#positions[packOf(entry)]?.[entry >>> 0] ?? 0
  }

  #corrupt(entry: Entry): ProtocolError {
    this.#view.oidOf(entry, this.#oid)
    return new ProtocolError('corrupt', `object ${oidFromBytes(this.#oid)} is stored as something else than its table says`)
  }
}

/** A whole pack in memory, without deltas: for few and small objects. */
export function encodePack(objects: readonly { readonly type: ObjectType; readonly data: Uint8Array }[]): Buffer {
  const header = Buffer.alloc(12)
  header.write('PACK', 0, 'latin1')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(objects.length, 8)
  const entries = objects.flatMap(({ type, data }) => [encodeEntryHeader(type, data.length), deflateSync(data)])
  const body = Buffer.concat([header, ...entries])
  return Buffer.concat([body, createHash('sha1').update(body).digest()])
}
