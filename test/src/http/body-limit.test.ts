import { createServer, request as send, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { readBody } from '../../../src/http/body-limit.js'

/** Has a request with a body read by `work`, while its client sends `first` and no more until `work` is over. */
async function withRequest<T>(first: Buffer, work: (raw: IncomingMessage) => Promise<T>): Promise<T> {
  let finished = (_value: T): void => {}
  let failed = (_error: unknown): void => {}
  const outcome = new Promise<T>((resolve, reject) => {
    finished = resolve
    failed = reject
  })
  const server = createServer((raw, response) => {
    void work(raw)
      .then(finished, failed)
      .finally(() => response.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = send({ port: (server.address() as AddressInfo).port, method: 'POST' })
  client.on('error', () => undefined)
  client.write(first)
  try {
    return await outcome
  } finally {
    client.destroy()
    server.closeAllConnections()
    server.close()
  }
}

t.test('who stops reading leaves no timer behind', async (t) => {
  const timers = new Set<unknown>()
  const { setTimeout: set, clearTimeout: clear } = globalThis
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    const timer = set(...args)
    if (args[1] === 77_777) timers.add(timer)
    return timer
  }) as typeof setTimeout
  globalThis.clearTimeout = ((timer: NodeJS.Timeout) => {
    timers.delete(timer)
    clear(timer)
  }) as typeof clearTimeout
  t.teardown(() => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }))
  await withRequest(Buffer.from('some'), async (raw) => {
    const body = readBody(raw, { maxBytes: 100, stallMs: 77_777 })[Symbol.asyncIterator]()
    t.equal((await body.next()).value?.toString(), 'some')
    t.equal(timers.size, 0)
    const waiting = body.next()
    await new Promise((resolve) => set(resolve, 20))
    t.equal(timers.size, 1, 'only a read that waits is timed')
    raw.destroy()
    await waiting.catch(() => undefined)
    t.equal(timers.size, 0)
  })
})

t.test('a client that stalls is given up', async (t) => {
  const read = withRequest(Buffer.from('some'), async (raw) => {
    for await (const _chunk of readBody(raw, { maxBytes: 100, stallMs: 50 })) continue
  })
  await t.rejects(read, { code: 'bad-request', message: 'no byte of the request body came for 50 ms' })
})

t.test('a client that drips is given up, and one that is slow but steady is not', async (t) => {
  /** Sends `bytes` every 10 ms, 40 times. */
  const drip = async (bytes: number): Promise<number> => {
    const server = createServer((raw, response) => {
      void (async () => {
        let received = 0
        try {
          for await (const chunk of readBody(raw, { maxBytes: 1_000_000, rateWindowMs: 200 })) received += chunk.length
          response.end(String(received))
        } catch (error) {
          response.end((error as Error).message)
        }
      })()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = send({ port: (server.address() as AddressInfo).port, method: 'POST' })
    client.on('error', () => undefined)
    const answer = new Promise<string>((resolve) =>
      client.on('response', (response: IncomingMessage) => response.setEncoding('utf8').on('data', (text: string) => resolve(text))),
    )
    for (let i = 0; i < 40; i++) {
      client.write(Buffer.alloc(bytes))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    client.end()
    const text = await answer
    server.closeAllConnections()
    server.close()
    return text === 'the request body came at less than 1024 bytes a second' ? -1 : Number(text)
  }
  t.equal(await drip(1), -1)
  t.equal(await drip(500), 20_000)
})
