import { Readable, pipeline } from 'node:stream'
import { createInflate } from 'node:zlib'
import { ProtocolError } from '../../protocol/errors.js'
import { applyDelta } from '../../protocol/pack/delta.js'
import { decodeEntryHeader, inflateEntry, type EntryHeader } from '../../protocol/pack/entry.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import { packOf, type Entry, type PackView } from '../../protocol/ports.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { HubError } from '../errors.js'
import { ByteBudget } from '../packs/byte-budget.js'

/** Bytes `from` (inclusive) to `to` (exclusive). */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

/** What is read at once from a pack, and what may be inflated on this thread without anybody noticing. */
const smallBytes = 256 * 1024
/** Base, delta and result of all deltas that are being applied, bytes. */
const defaultUnpackBytes = 256 * 1024 * 1024
/** Objects made of deltas, held while their readers take them, bytes. */
const defaultHeldBytes = 128 * 1024 * 1024
const defaultWaitMs = 10_000
/** No honest chain is as long; longer means that the table leads in a circle. */
const maxChain = 100_000

export interface BlobReaderOptions {
  readonly unpackBytes?: number
  readonly heldBytes?: number
  /** How long to wait for room. */
  readonly waitMs?: number
}

/** Reads single objects of any size. What takes long happens off this thread, but for putting a delta and its base together. */
export interface BlobReader {
  /**
   * The whole object, for what is looked at here.
   * @throws ProtocolError `corrupt`, `cancelled`; HubError `busy`
   */
  readWhole(view: PackView, entry: Entry, signal: AbortSignal): Promise<Uint8Array>
  /**
   * A range of it, chunk by chunk. What is stored whole passes through; what is a delta is put together first, within a budget that its
   * reader holds until he has it all.
   * @throws ProtocolError `corrupt`, `cancelled`; HubError `busy`
   */
  stream(view: PackView, entry: Entry, range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array>
}

export function createBlobReader(options: BlobReaderOptions = {}): BlobReader {
  const { unpackBytes = defaultUnpackBytes, heldBytes = defaultHeldBytes, waitMs = defaultWaitMs } = options
  const unpacking = new ByteBudget(unpackBytes)
  const held = new ByteBudget(heldBytes)

  async function reserve(budget: ByteBudget, bytes: number, signal: AbortSignal): Promise<() => void> {
    const now = signal.aborted ? undefined : budget.tryReserve(bytes)
    if (now) return now
    try {
      return await budget.reserve(bytes, AbortSignal.any([signal, AbortSignal.timeout(waitMs)]))
    } catch (error) {
      if (signal.aborted) throw error
      throw new HubError('busy', `no room to unpack ${bytes} bytes in ${waitMs} ms`, { cause: error })
    }
  }

  async function readWhole(view: PackView, entry: Entry, signal: AbortSignal): Promise<Uint8Array> {
    const chain = chainOf(view, entry)
    const sizes = chain.map((link) => view.sizeOf(link))
    if (sizes.reduce((sum, size) => sum + size, 0) <= smallBytes) return (await createObjectReader(view, { cacheBytes: 0 }).read(entry)).data
    const release = await reserve(unpacking, 3 * largest(sizes), signal)
    try {
      let data: Uint8Array | undefined
      for (const link of chain.toReversed()) {
        if (signal.aborted) throw new ProtocolError('cancelled', 'the client left')
        data = await unpackOne(view, link, data)
      }
      return data!
    } finally {
      release()
    }
  }

  return {
    readWhole,
    async *stream(view, entry, { from, to }, signal) {
      if (view.baseOf(entry) === -1 && view.sizeOf(entry) > smallBytes) {
        yield* slice(inflated(view, entry), from, to)
        return
      }
      const release = view.sizeOf(entry) > smallBytes ? await reserve(held, view.sizeOf(entry), signal) : undefined
      try {
        const data = await readWhole(view, entry, signal)
        for (let at = from; at < to; at += smallBytes) yield data.subarray(at, Math.min(at + smallBytes, to))
      } finally {
        release?.()
      }
    },
  }
}

const largest = (sizes: readonly number[]): number => sizes.reduce((max, size) => Math.max(max, size), 0)

/** The entry, its base, and so on, down to what is stored whole. */
function chainOf(view: PackView, entry: Entry): Entry[] {
  const chain = [entry]
  for (let base = view.baseOf(entry); base !== -1; base = view.baseOf(base)) {
    if (chain.length === maxChain) throw corrupt(view, entry, 'has no end of delta bases')
    chain.push(base)
  }
  return chain
}

async function unpackOne(view: PackView, link: Entry, base: Uint8Array | undefined): Promise<Uint8Array> {
  const size = view.sizeOf(link)
  const parts: Uint8Array[] = []
  for await (const part of inflated(view, link)) parts.push(part)
  const stored = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  try {
    const data = base ? applyDelta(base, stored, size) : stored
    if (data.length === size) return data
  } catch (error) {
    throw corrupt(view, link, 'does not unpack', error)
  }
  throw corrupt(view, link, `does not have its ${size} bytes`)
}

/** What an entry's zlib stream holds: the object, or its delta. Exactly as many bytes as it says, or it throws. Chunks are the reader's to keep. */
async function* inflated(view: PackView, entry: Entry): AsyncGenerator<Uint8Array> {
  const pack = packOf(entry)
  const from = view.offsetOf(entry)
  const end = view.endOf(entry)
  const first = Buffer.from(await view.read(pack, from, Math.min(from + smallBytes, end)))
  const header = headerOf(view, entry, first)
  if (from + first.length === end && header.size <= smallBytes) {
    yield inflateNow(view, entry, first, header)
    return
  }
  const windows = async function* (): AsyncGenerator<Uint8Array> {
    yield first.subarray(header.headerBytes)
    for (let at = from + first.length; at < end; at += smallBytes) yield Buffer.from(await view.read(pack, at, Math.min(at + smallBytes, end)))
  }
  const inflate = createInflate({ chunkSize: 64 * 1024 })
  // The callback is there because somebody must hear of errors; the reader below throws them.
  pipeline(Readable.from(windows(), { objectMode: false }), inflate, () => undefined)
  let bytes = 0
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > header.size) break
      yield chunk
    }
  } catch (error) {
    throw isZlibError(error) ? corrupt(view, entry, 'does not inflate', error) : error
  } finally {
    inflate.destroy()
  }
  if (bytes !== header.size) throw corrupt(view, entry, `does not inflate to its ${header.size} bytes`)
}

const isZlibError = (error: unknown): boolean => error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')

function inflateNow(view: PackView, entry: Entry, bytes: Uint8Array, header: EntryHeader): Uint8Array {
  try {
    const done = inflateEntry(bytes, header.headerBytes, header.size)
    if (done) return done.data
  } catch (error) {
    throw corrupt(view, entry, 'does not inflate', error)
  }
  throw corrupt(view, entry, 'is cut off')
}

/** What the table says and what the pack says are two things until somebody looks. */
function headerOf(view: PackView, entry: Entry, bytes: Uint8Array): EntryHeader {
  const base = view.baseOf(entry)
  let header: EntryHeader | undefined
  try {
    header = decodeEntryHeader(bytes, 0, view.offsetOf(entry))
  } catch (error) {
    throw corrupt(view, entry, 'has no header', error)
  }
  if (header && base === -1 && header.type === view.typeOf(entry) && header.size === view.sizeOf(entry)) return header
  if (header && base !== -1 && (header.baseOid ? oidFromBytes(header.baseOid) === oidOf(view, base) : header.baseOffset === view.offsetOf(base))) {
    return header
  }
  throw corrupt(view, entry, 'is stored as something else than its table says')
}

async function* slice(chunks: AsyncIterable<Uint8Array>, from: number, to: number): AsyncGenerator<Uint8Array> {
  let at = 0
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, from - at), Math.max(0, to - at))
    at += chunk.length
    if (part.length > 0) yield part
    // The last byte is not reached on the way to the end: whether the rest is whole concerns nobody here.
    if (at > to) return
  }
}

function oidOf(view: PackView, entry: Entry): string {
  const oid = new Uint8Array(20)
  view.oidOf(entry, oid)
  return oidFromBytes(oid)
}

const corrupt = (view: PackView, entry: Entry, what: string, cause?: unknown): ProtocolError =>
  new ProtocolError('corrupt', `object ${oidOf(view, entry)} ${what}`, { cause })
