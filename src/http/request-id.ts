import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

const usable = /^[\x21-\x7e][\x20-\x7e]{0,199}$/

/**
 * The name of a request in logs and in `X-Request-Id`: the client's own if it sent one; else a new one that holds the client's
 * `X-Amzn-Trace-Id`, by which the Hub's clients find it again.
 */
export function createRequestId(headers: IncomingHttpHeaders): string {
  const own = headers['x-request-id']
  if (typeof own === 'string' && usable.test(own)) return own
  const trace = headers['x-amzn-trace-id']
  return `Root=${randomUUID()}${typeof trace === 'string' && usable.test(trace) ? `;${trace}` : ''}`
}
