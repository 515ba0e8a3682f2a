import type { IncomingMessage } from 'node:http'
import { Readable, pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { HubError } from '../errors.js'

export interface BodyOptions {
  /** Bytes after decompression. */
  readonly maxBytes: number
  /** A client that sends nothing for this long is given up. */
  readonly stallMs?: number
  /** Over so much time spent waiting for it a body has to come at `minBytesPerSecond`. */
  readonly rateWindowMs?: number
}

const defaultStallMs = 120_000
const defaultRateWindowMs = 60_000
const minBytesPerSecond = 1_024

/**
 * The body of a request as it arrives, decompressed if it says so. Leaving it early leaves the connection open, so that an answer can still be sent.
 * @throws HubError `unsupported-media` for an encoding we do not know, at once; while reading: `too-large`, `bad-request` for broken gzip and
 * for a client that stalls or drips
 */
export function readBody(raw: IncomingMessage, options: BodyOptions): AsyncIterable<Uint8Array> {
  const { maxBytes, stallMs = defaultStallMs, rateWindowMs = defaultRateWindowMs } = options
  const encoding = raw.headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (encoding === 'identity') return limited(unstalled(raw, stallMs, rateWindowMs), maxBytes)
  if (encoding === 'gzip' || encoding === 'x-gzip') return limited(gunzipped(unstalled(raw, stallMs, rateWindowMs)), maxBytes)
  throw new HubError('unsupported-media', `content-encoding '${encoding.slice(0, 40)}' is not supported: use gzip or none`)
}

async function* limited(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new HubError('too-large', `the request body is over the limit of ${maxBytes} bytes`)
    yield chunk
  }
}

/** Only a read that waits is timed: whoever stops reading leaves no timer behind. */
async function* unstalled(raw: IncomingMessage, stallMs: number, rateWindowMs: number): AsyncGenerator<Uint8Array> {
  const chunks = raw.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  let stalled = false
  let waitedMs = 0
  let bytes = 0
  try {
    for (;;) {
      let next: IteratorResult<Uint8Array> | undefined
      if (raw.readableLength > 0) {
        next = await chunks.next() // what is here is not waited for
      } else {
        const askedAt = performance.now()
        next = await within(chunks.next(), stallMs)
        waitedMs += performance.now() - askedAt
      }
      if (next === undefined) {
        stalled = true
        throw new HubError('bad-request', `no byte of the request body came for ${stallMs} ms`)
      }
      if (next.done) return
      bytes += next.value.length
      if (waitedMs >= rateWindowMs) {
        if (bytes * 1000 < minBytesPerSecond * waitedMs) {
          throw new HubError('bad-request', `the request body came at less than ${minBytesPerSecond} bytes a second`)
        }
        waitedMs = bytes = 0
      }
      yield next.value
    }
  } finally {
    // While a read hangs, return would wait for it.
    if (!stalled) await chunks.return?.()
  }
}

/** Undefined: it took longer. */
async function within<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined).unref()
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}

async function* gunzipped(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip()
  // The callback is there because somebody must hear of errors; the reader below throws them.
  pipeline(Readable.from(chunks, { objectMode: false }), gunzip, () => undefined)
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array
  } catch (error) {
    if (String((error as { code?: unknown }).code).startsWith('Z_')) throw new HubError('bad-request', 'the gzip body is broken', { cause: error })
    throw error
  } finally {
    gunzip.destroy()
  }
}
