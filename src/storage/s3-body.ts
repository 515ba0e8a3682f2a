import { createHash } from 'node:crypto'
import { HubError } from '../errors.js'
import { abortable } from './abortable.js'
import type { ByteRange, ExpectedBytes } from './blob-store.js'
import { readFileChunks } from './file-chunks.js'

/** What a request carries: its size is known before it goes out. */
export interface S3Body {
  readonly bytes: number
  /** Hex. With it the store refuses other bytes. */
  readonly sha256: string | undefined
  /** Whether `open` gives the same bytes again. */
  readonly replayable: boolean
  open(): Uint8Array | AsyncIterable<Uint8Array>
}

/** Of what a source will give. */
interface Known extends Pick<ExpectedBytes, 'chunksLast'> {
  readonly bytes: number
}

export function bufferBody(content: Uint8Array, sha256 = createHash('sha256').update(content).digest('hex')): S3Body {
  return { bytes: content.length, sha256, replayable: true, open: () => content }
}

/** A range of a file, read anew each time it is sent. */
export function fileBody(path: string, range: ByteRange, sha256: string): S3Body {
  return { bytes: range.to - range.from, sha256, replayable: true, open: () => owned(readFileChunks(path, range, { name: path })) }
}

/** What a source gives, as it comes, once. See `exactly`. */
export function streamBody(source: AsyncIterable<Uint8Array>, known: Known & Pick<S3Body, 'sha256'>, signal?: AbortSignal): S3Body {
  return { bytes: known.bytes, sha256: known.sha256, replayable: false, open: () => exactly(source, known, signal) }
}

/**
 * What a source gives, copied unless its chunks last. Its last bytes go out only when it has ended well: a store takes what has as many bytes as
 * were announced, and the source may find out at its end that they are the wrong ones.
 * @throws HubError `corrupt` when there are more or fewer; the signal's reason
 */
export async function* exactly(
  source: AsyncIterable<Uint8Array>,
  { bytes, chunksLast }: Known,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined
  let seen = 0
  for await (const chunk of abortable(source, signal)) {
    if (chunk.length === 0) continue
    seen += chunk.length
    if (seen > bytes) throw new HubError('corrupt', `more than the ${bytes} bytes that were announced`)
    if (held) yield held
    held = chunksLast ? chunk : Buffer.from(chunk)
  }
  signal?.throwIfAborted()
  if (seen < bytes) throw new HubError('corrupt', `${seen} bytes where ${bytes} were announced`)
  if (held) yield held
}

/** Whoever gives out chunks may use their memory again, while a socket still has them queued: so it gets copies. */
async function* owned(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) yield Buffer.from(chunk)
}
