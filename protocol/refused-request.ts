import { ProtocolError } from './errors.js'
import { wireLimits } from './limits.js'
import type { PktReader } from './pkt-line.js'

/** The client is to read this as `ERR`: nothing was yielded yet. */
export class RefusedRequest extends Error {}

/** Reads a request; what is wrong with it becomes a refusal once the rest has been read, unless its framing is gone. */
export async function receive<T>(reader: PktReader, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof ProtocolError) || (reader.broken && error.code !== 'too-large') || reader.ended) throw error
    await reader.drain(wireLimits.requestBytes)
    throw new RefusedRequest(error.message)
  }
}

/** What the client did wrong, or asks too much of, becomes a refusal. What is our fault is thrown as it came. */
export async function refusing<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (isExpected(error)) throw new RefusedRequest(error.message, { cause: error })
    throw error
  }
}

/** The client may read it: neither our fault nor his leaving. */
export const isExpected = (error: unknown): error is ProtocolError =>
  error instanceof ProtocolError && error.code !== 'corrupt' && error.code !== 'cancelled'
