import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../errors.js'
import { contentRange, contentRangeOfNone, parseRange, type ByteRange } from './byte-range.js'
import { checkPreconditions, rangeApplies } from './preconditions.js'
import type { StreamedRepo } from '../repos/repo-streams.js'
import { sendStream, type Sent } from './send-stream.js'

type Headers = Readonly<Record<string, string | number>>

/** Bytes under a name that is theirs for ever. */
export interface NamedBytes {
  /** Whose content it is. */
  readonly of: StreamedRepo
  /** With its quotes. */
  readonly etag: string
  readonly size: number
  /** Headers that say which thing this is, for 200, 206 and 304 alike. */
  readonly identity?: Headers
  /** Headers that come with the bytes. */
  readonly headers: Headers
  readonly open: (range: ByteRange) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>
}

/**
 * Answers a GET or HEAD with bytes, or a part of them, after what the request's conditions say. Comes back with what became of the bytes;
 * undefined: headers were all there was to send. An answer that fails before its first byte takes its headers back and throws.
 * @throws HubError `precondition-failed`, `bad-range`
 */
export async function sendNamedBytes(
  request: FastifyRequest,
  reply: FastifyReply,
  { of, etag, size, identity = {}, headers, open }: NamedBytes,
): Promise<Sent | undefined> {
  const precondition = checkPreconditions(request.headers, etag)
  if (precondition === 'failed') throw new HubError('precondition-failed', 'the file is not the one that If-Match names')
  if (precondition === 'not-modified') {
    void reply
      .code(304)
      .headers({ ...identity, etag })
      .send()
    return undefined
  }
  const all = { ...identity, ...headers, etag, 'accept-ranges': 'bytes', 'content-length': size }
  // What a Range means is defined for GET alone.
  if (request.method === 'HEAD') {
    void reply.headers(all).send()
    return undefined
  }
  const asked = parseRange(rangeApplies(request.headers, etag) ? request.headers.range : undefined, size)
  if (size > 0 && (asked.kind === 'unsatisfiable' || asked.kind === 'several')) {
    reply.headers({ 'content-range': contentRangeOfNone(size), 'accept-ranges': 'bytes' })
    throw new HubError('bad-range', asked.kind === 'several' ? 'one range at a time, please' : `the range lies outside the file of ${size} bytes`)
  }
  const range = asked.kind === 'part' ? asked.range : { from: 0, to: size }
  const bytes = await open(range)
  reply.headers({ ...all, 'content-length': range.to - range.from })
  // There is no part of nothing; clients that probe with a range take this, and take 416 for a failure.
  if (size === 0 && asked.kind !== 'whole') reply.header('content-range', contentRangeOfNone(0))
  if (asked.kind === 'part') reply.code(206).header('content-range', contentRange(range, size))
  try {
    return await sendStream(reply, exactly(bytes, range.to - range.from), { of })
  } catch (error) {
    reply.code(200)
    for (const name of [...Object.keys(all), 'content-range']) reply.removeHeader(name)
    throw error
  }
}

/** As many bytes as were promised, or the connection breaks: a client must never take too few for all. */
async function* exactly(chunks: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let sent = 0
  for await (const chunk of chunks) {
    sent += chunk.length
    if (sent > bytes) break
    yield chunk
  }
  if (sent !== bytes) throw new HubError('corrupt', `of ${bytes} bytes that were promised ${sent} came`)
}
