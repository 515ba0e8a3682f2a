import { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { ProtocolError } from '../../protocol/errors.js'
import type { RepoStreams, StreamedRepo } from '../repos/repo-streams.js'
import { discardRest, hasUnreadBody } from './early-answer.js'

declare module 'fastify' {
  interface FastifyInstance {
    repoStreams: RepoStreams
  }
}

export interface SendOptions {
  /** Whose content it is: when something is purged from that repository the connection is reset. Undefined: nothing that can be purged. */
  readonly of?: StreamedRepo | undefined
  /** A client that takes nothing for this long is given up. */
  readonly stallMs?: number
  /** How long the rest of a request may still come once its answer is out. */
  readonly unreadGraceMs?: number
}

/** What became of an answer. */
export interface Sent {
  readonly outcome: 'sent' | 'left' | 'failed'
  readonly bytes: number
  /** Why it failed after its first byte; the client saw a connection that broke. */
  readonly error?: unknown
}

const defaultStallMs = 120_000
const smallBytes = 16 * 1024
const slotBytes = 256 * 1024

/**
 * Sends chunks as they come, two in flight. Status and headers are those of the reply; hooks after the handler do not run.
 * A chunk is valid until the next is asked for, so what is still being written then is copied, into two buffers of our own.
 *
 * When the client leaves, or takes nothing for `stallMs`, the iterable is ended (`return`) and it comes back with `left`. What the iterable
 * throws after its first chunk breaks the connection, so that nobody takes half an answer for a whole one: `failed`.
 * @throws whatever the iterable throws before its first chunk: then nothing was sent, and there can still be a proper answer
 */
export async function sendStream(
  reply: FastifyReply,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { of, stallMs = defaultStallMs, unreadGraceMs = 5_000 }: SendOptions = {},
): Promise<Sent> {
  const stream = of && reply.server.repoStreams.begin(of, () => reset(reply))
  try {
    return await sendAll(reply, chunks, { stallMs, unreadGraceMs }, (bytes) => stream?.passed(bytes))
  } finally {
    stream?.end()
  }
}

/** What the system has taken, and the client has not, is not sent either. */
function reset({ raw }: FastifyReply): void {
  if (raw.socket instanceof Socket) raw.socket.resetAndDestroy()
  raw.destroy()
}

async function sendAll(
  reply: FastifyReply,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { stallMs, unreadGraceMs }: Required<Omit<SendOptions, 'of'>>,
  onSent: (bytes: number) => void,
): Promise<Sent> {
  const iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
  let next = await iterator.next()
  reply.hijack()
  const outlet = openOutlet(reply, stallMs, unreadGraceMs)
  try {
    for (; !next.done && !outlet.left; next = await iterator.next()) {
      await outlet.write(next.value)
      onSent(next.value.length)
    }
    if (!outlet.left) await outlet.end()
    return { outcome: reply.raw.writableFinished ? 'sent' : 'left', bytes: outlet.bytes }
  } catch (error) {
    const left = outlet.left || (error instanceof ProtocolError && error.code === 'cancelled')
    reply.raw.destroy()
    return { outcome: left ? 'left' : 'failed', bytes: outlet.bytes, error }
  } finally {
    outlet.close()
    await Promise.resolve(iterator.return?.()).catch(() => undefined) // it had its chance to say what is wrong
  }
}

function openOutlet(reply: FastifyReply, stallMs: number, unreadGraceMs: number) {
  const { raw } = reply
  const slots: { buffer: Buffer; written: Promise<void> }[] = [0, 1].map(() => ({ buffer: Buffer.alloc(0), written: Promise.resolve() }))
  let turn = 0
  let bytes = 0
  // After a client left, the callbacks of writes may never come (Node 24): only this does.
  const closed = new Promise<void>((resolve) => {
    raw.once('close', resolve)
    if (raw.destroyed || raw.closed) resolve()
  })
  let pending = 0
  // Only the client is timed: whoever makes the chunks may take as long as it needs.
  const stalled: NodeJS.Timeout = setTimeout(() => {
    if (pending > 0) raw.destroy()
    else stalled.refresh()
  }, stallMs).unref()
  raw.on('error', () => undefined)
  raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string | number | string[]>)

  const send = (chunk: Uint8Array): Promise<void> => {
    bytes += chunk.length
    if (pending++ === 0) stalled.refresh()
    return Promise.race([
      closed,
      new Promise<void>((resolve) => {
        raw.write(chunk, (error) => {
          // From Node 26 on, writes to a broken connection come back at once, before anything can say that it closed: without
          // this, chunks would be made for ever, and the thread would do nothing else.
          if (error) raw.destroy()
          pending -= 1
          stalled.refresh()
          resolve()
        })
      }),
    ])
  }

  return {
    get bytes() {
      return bytes
    },
    get left() {
      return raw.destroyed || raw.closed
    },

    /** Comes back when the next chunk may be made. */
    async write(chunk: Uint8Array): Promise<void> {
      if (chunk.length === 0) return
      const slot = slots[turn]!
      turn ^= 1
      await slot.written
      if (chunk.length > slotBytes) {
        await send(chunk)
      } else if (chunk.length <= smallBytes) {
        slot.written = send(Buffer.from(chunk))
      } else {
        if (slot.buffer.length < chunk.length)
          slot.buffer = Buffer.allocUnsafeSlow(Math.min(slotBytes, Math.max(chunk.length, 2 * slot.buffer.length)))
        slot.buffer.set(chunk)
        slot.written = send(slot.buffer.subarray(0, chunk.length))
      }
    },

    async end(): Promise<void> {
      pending += 1
      await Promise.race([
        closed,
        new Promise<void>((resolve) => {
          raw.end(resolve)
        }),
      ])
      // An answer that did not need the whole request: the rest may come for a moment, not for ever.
      const { req } = raw
      if (!hasUnreadBody(req)) return
      void discardRest(req, unreadGraceMs).then(() => {
        if (!req.complete) req.destroy()
      })
    },

    close: () => clearTimeout(stalled),
  }
}
