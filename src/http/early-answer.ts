import type { FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

const lingerMs = 2_000
const lingerBytes = 16 * 1024 * 1024

/** Whether bytes of the request's body may still be on their way. */
export function hasUnreadBody(raw: IncomingMessage): boolean {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = raw.headers
  return (encoding !== undefined || Number(length) > 0) && !raw.complete && !raw.destroyed && !raw.readableEnded
}

/**
 * Answers, whether or not the request's body was read. If it was not, closing at once would reset the connection, and the client would
 * lose the answer with it: so the answer goes out whole, what still comes is dropped for a moment, and then the connection ends.
 */
export function sendEarly(request: FastifyRequest, reply: FastifyReply, text: string): FastifyReply {
  if (!hasUnreadBody(request.raw) || request.method === 'HEAD') return reply.send(text)
  const body = Buffer.from(text)
  return reply
    .headers({ connection: 'close', 'content-length': body.length })
    .send(Readable.from(lingering(request.raw, body), { objectMode: false }))
}

async function* lingering(raw: IncomingMessage, body: Buffer): AsyncGenerator<Buffer> {
  if (body.length > 0) yield body
  await discardRest(raw, lingerMs)
}

/**
 * Drops what still comes of a request's body, whoever began to read it, until it is over, for a time, or up to a size. While its end has not
 * been seen, the next request on the connection is not either.
 */
export async function discardRest(raw: IncomingMessage, ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    let bytes = 0
    const timer = setTimeout(resolve, ms).unref()
    const end = () => {
      clearTimeout(timer)
      resolve()
    }
    raw.once('end', end).once('close', end).once('error', end)
    // Whoever began to read holds the stream back.
    raw.removeAllListeners('readable')
    // Not for the bytes: to count what is thrown away.
    raw
      .on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > lingerBytes) end()
      })
      .resume()
    if (raw.complete || raw.readableEnded || raw.destroyed) end()
  })
}
