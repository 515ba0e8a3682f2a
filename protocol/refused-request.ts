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
