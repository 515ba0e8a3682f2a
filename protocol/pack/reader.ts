import { ProtocolError } from '../errors.js'
import { oidBytes, oidFromBytes } from '../oid.js'
import { packOf, type Entry, type FindUse, type PackView } from '../ports.js'
import type { ObjectType, Oid } from '../types.js'
import { applyDelta } from './delta.js'
import { maxSimpleBytes } from './simple-inflate.js'
import { decodeEntryHeader, inflateEntry, type EntryHeader } from './entry.js'
import { ArenaCache } from './arena-cache.js'
import { ObjectCache, type KeptObjects } from './object-cache.js'
import { ReadWindow, windowBytes } from './read-window.js'

export interface GitObject {
  readonly type: ObjectType
  /** Shared with the reader's cache: not to be written to. */
  readonly data: Uint8Array
}

/** Reads objects of one view, one at a time: ask for the next when the last has come. */
export interface ObjectReader {
  /** @throws ProtocolError `corrupt`, `too-large` */
  read(entry: Entry): Promise<GitObject>
  /** The same at once, if its bytes are at hand; else undefined. For loops over many objects: `readNow(entry) ?? (await read(entry))`. */
  readNow(entry: Entry): GitObject | undefined
  /** Undefined: there is no such object. */
  readOid(oid: Oid, use?: FindUse): Promise<GitObject | undefined>
}

export interface ReaderOptions {
  /** Objects kept as bases of deltas to come, bytes. */
  readonly cacheBytes?: number
  /** Objects over this are refused before they are read, bytes. */
  readonly maxBytes?: number
  /** An object is valid only until the next is asked for: a walk over any number of them then needs no more memory than its cache. */
  readonly transient?: boolean
}

const defaultCacheBytes = 16 * 1024 * 1024
/** No honest chain is as long; longer means that the table leads in a circle. */
const maxChain = 100_000

/** A reader that follows delta chains however long they are, and checks that every object has the type and size the view says. */
export function createObjectReader(view: PackView, options: ReaderOptions = {}): ObjectReader {
  return new PackObjectReader(view, options)
}

class PackObjectReader implements ObjectReader {
  readonly #view: PackView
  readonly #maxBytes: number
  readonly #cache: KeptObjects
  readonly #isTransient: boolean
  /** Where deltas are inflated to. */
  readonly #scratch = Buffer.allocUnsafe(maxSimpleBytes)
  readonly #window: ReadWindow

  constructor(view: PackView, { cacheBytes = defaultCacheBytes, maxBytes = Number.POSITIVE_INFINITY, transient = false }: ReaderOptions) {
    this.#view = view
    this.#isTransient = transient
    this.#maxBytes = maxBytes
    this.#cache = transient ? new ArenaCache(cacheBytes) : new ObjectCache(cacheBytes)
    this.#window = new ReadWindow(view)
  }

  readonly #room = (bytes: number): Buffer => this.#cache.room(bytes)

  readNow(entry: Entry): GitObject | undefined {
    const view = this.#view
    const window = this.#window
    this.#checkSize(entry)
    let data = this.#cache.get(entry)
    if (!data) {
      const pack = packOf(entry)
      const chain = this.#chainOf(entry)
      for (const link of chain) if (!window.has(pack, view.offsetOf(link), view.endOf(link))) return undefined
      data = this.#cachedBase(chain)
      for (let i = chain.length - 1; i >= 0; i--) data = this.#unpack(chain[i]!, window.bytes, view.offsetOf(chain[i]!) - window.from, data)
    }
    return { type: view.typeOf(entry), data: data! }
  }

  async read(entry: Entry): Promise<GitObject> {
    const view = this.#view
    const window = this.#window
    const cached = this.readNow(entry)
    if (cached) return cached
    const pack = packOf(entry)
    const chain = this.#chainOf(entry)
    // Taken out before anything is added: it might be the first to be dropped.
    let data = this.#cachedBase(chain)
    await this.#fillWindow(pack, chain)
    for (let i = chain.length - 1; i >= 0; i--) {
      const link = chain[i]!
      const from = view.offsetOf(link)
      const to = view.endOf(link)
      if (window.has(pack, from, to)) data = this.#unpack(link, window.bytes, from - window.from, data)
      else data = this.#unpack(link, await view.read(pack, from, to), 0, data)
    }
    return { type: view.typeOf(entry), data: data! }
  }

  async readOid(oid: Oid, use: FindUse = 'read'): Promise<GitObject | undefined> {
    const entry = this.#view.find(oidBytes(oid), use)
    return entry === -1 ? undefined : this.read(entry)
  }

  #checkSize(entry: Entry): void {
    const size = this.#view.sizeOf(entry)
    if (size > this.#maxBytes)
      throw new ProtocolError('too-large', `object ${this.#oidOf(entry)} of ${size} bytes is over the limit of ${this.#maxBytes}`)
  }

  /** The entry, its base, and so on, down to what is stored whole or has its base in the cache. */
  #chainOf(entry: Entry): Entry[] {
    const view = this.#view
    const chain = [entry]
    for (let base = view.baseOf(entry); base !== -1 && !this.#cache.has(base); base = view.baseOf(base)) {
      if (chain.length === maxChain) throw this.#corrupt(entry, 'has no end of delta bases')
      chain.push(base)
    }
    return chain
  }

  #cachedBase(chain: readonly Entry[]): Uint8Array | undefined {
    const base = this.#view.baseOf(chain.at(-1)!)
    return base === -1 ? undefined : this.#cache.get(base)
  }

  /** Packers put a base close to its deltas: the whole chain in one read if that can be, else the object itself. */
  async #fillWindow(pack: number, chain: readonly Entry[]): Promise<void> {
    const view = this.#view
    let from = view.offsetOf(chain[0]!)
    let to = view.endOf(chain[0]!)
    if (to - from > windowBytes) return
    for (const link of chain) {
      const lower = Math.min(from, view.offsetOf(link))
      const upper = Math.max(to, view.endOf(link))
      if (upper - lower > windowBytes) break
      from = lower
      to = upper
    }
    if (!this.#window.has(pack, from, to)) await this.#window.load(pack, from, to)
  }

  /** The object of the entry at `at`, given its base if it is a delta. */
  #unpack(entry: Entry, bytes: Uint8Array, at: number, base: Uint8Array | undefined): Uint8Array {
    const view = this.#view
    const size = view.sizeOf(entry)
    // What is kept as it comes must not lie where the next comes.
    const scratch = base || this.#isTransient ? this.#scratch : undefined
    let data: Uint8Array
    try {
      const header = decodeEntryHeader(bytes, at, view.offsetOf(entry))
      const inflated = header && inflateEntry(bytes, at + header.headerBytes, header.size, scratch)
      if (!inflated) throw this.#corrupt(entry, 'is cut off')
      this.#checkHeader(entry, header)
      data = base ? applyDelta(base, inflated.data, size, this.#room) : inflated.data
    } catch (error) {
      if (error instanceof ProtocolError && error.code !== 'corrupt') throw this.#corrupt(entry, error.message, error)
      throw error
    }
    if (data.length !== size) throw this.#corrupt(entry, `has ${data.length} bytes and not ${size}`)
    if (!base) return this.#cache.put(entry, data)
    this.#cache.keep(entry, data)
    return data
  }

  /** What the table says and what the pack says are two things until somebody looks. */
  #checkHeader(entry: Entry, header: EntryHeader): void {
    const view = this.#view
    const base = view.baseOf(entry)
    let agrees: boolean
    if (base === -1) agrees = header.type === view.typeOf(entry)
    else if (header.baseOid) agrees = oidFromBytes(header.baseOid) === this.#oidOf(base)
    else agrees = header.baseOffset === view.offsetOf(base)
    if (!agrees) throw this.#corrupt(entry, 'is stored as something else than its table says')
  }

  #oidOf(entry: Entry): Oid {
    const oid = new Uint8Array(20)
    this.#view.oidOf(entry, oid)
    return oidFromBytes(oid)
  }

  #corrupt(entry: Entry, what: string, cause?: unknown): ProtocolError {
    return new ProtocolError('corrupt', `object ${this.#oidOf(entry)} ${what}`, { cause })
  }
}
