import { once } from 'node:events'
import { Agent, createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

interface Teardown {
  teardown(work: () => unknown): void
}

/** What goes wrong with one request. */
export type Fault =
  /** The store is not asked. */
  | { readonly answer: number; readonly body?: string; readonly headers?: Readonly<Record<string, string>> }
  /** The connection ends after so many bytes of the request's body; the store is cut off as well. */
  | { readonly cutRequestAt: number }
  /** The store does what it is asked, and the connection ends before its answer. */
  | 'lost-answer'
  /** The connection ends after so many bytes of the answer's body. */
  | { readonly cutAnswerAt: number }
  /** Nothing more comes after so many bytes of the answer's body; below zero: no answer at all. */
  | { readonly stallAnswerAt: number }
  | { readonly delayMs: number }

export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  /** The client ended the connection before it was answered whole. */
  left: boolean
}

export interface FaultProxy {
  readonly url: string
  readonly seen: SeenRequest[]
  /** Asked for each request; undefined lets it pass. */
  plan: (request: SeenRequest) => Fault | undefined
}

/** Between a store's client and the store: an address that spoils what it is told to. Host headers pass unchanged, so signatures hold. */
export async function openFaultProxy(t: Teardown, target: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  const proxy = { url: '', seen: [] as SeenRequest[], plan: (): Fault | undefined => undefined } as {
    -readonly [K in keyof FaultProxy]: FaultProxy[K]
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const seen: SeenRequest = { method: request.method!, url: request.url!, headers: request.headers, left: false }
    proxy.seen.push(seen)
    response.once('close', () => {
      seen.left = !response.writableFinished
    })
    const fault = proxy.plan(seen)
    if (typeof fault === 'object' && 'answer' in fault) {
      for await (const chunk of request) void chunk
      response.writeHead(fault.answer, { 'content-type': 'application/xml', ...fault.headers }).end(fault.body ?? '')
      return
    }
    if (typeof fault === 'object' && 'delayMs' in fault) await delay(fault.delayMs)
    const upstream = send({ hostname, port, method: request.method, path: request.url, headers: request.headers, agent })
    response.once('close', () => upstream.destroy())
    const answered = once(upstream, 'response') as Promise<[IncomingMessage]>
    answered.catch(() => response.destroy())
    await passRequest(request, upstream, typeof fault === 'object' && 'cutRequestAt' in fault ? fault.cutRequestAt : Infinity)
    const [answer] = await answered
    if (fault === 'lost-answer') {
      for await (const chunk of answer) void chunk
      response.destroy()
      return
    }
    await passAnswer(answer, response, fault as { readonly cutAnswerAt?: number; readonly stallAnswerAt?: number } | undefined)
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    agent.destroy()
  })
  proxy.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  return proxy
}

type Upstream = ReturnType<typeof send>

/** Or closed: there is nothing to wait for then. */
function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done).off('error', done)
      resolve()
    }
    stream.on('drain', done).on('close', done).on('error', done)
  })
}

async function passRequest(request: IncomingMessage, upstream: Upstream, cutAt: number): Promise<void> {
  let passed = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    const piece = chunk.subarray(0, cutAt - passed)
    passed += piece.length
    if (!upstream.write(piece)) await drained(upstream)
    if (passed >= cutAt) {
      await delay(50)
      upstream.destroy(new Error('cut'))
      request.socket.destroy()
      return
    }
  }
  upstream.end()
}

async function passAnswer(
  answer: IncomingMessage,
  response: ServerResponse,
  fault: { readonly cutAnswerAt?: number; readonly stallAnswerAt?: number } | undefined,
): Promise<void> {
  const stopAt = fault?.cutAnswerAt ?? fault?.stallAnswerAt ?? Infinity
  if (stopAt < 0) {
    answer.destroy()
    return
  }
  response.writeHead(answer.statusCode!, answer.headers)
  let passed = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    const piece = chunk.subarray(0, stopAt - passed)
    passed += piece.length
    if (!response.write(piece)) await drained(response)
    if (response.destroyed) return
    if (passed < stopAt) continue
    if (fault?.stallAnswerAt !== undefined) return
    await delay(50)
    response.destroy()
    return
  }
  response.end()
}
