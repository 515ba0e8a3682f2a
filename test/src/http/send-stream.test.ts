import { fastify, type FastifyInstance } from 'fastify'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sendStream, type SendOptions, type Sent } from '../../../src/http/send-stream.js'

interface Stage {
  readonly app: FastifyInstance
  readonly url: string
  readonly port: number
  /** What became of the answers, in order. */
  readonly outcomes: Promise<Sent>[]
}

/** A server that sends what `chunks` yields. */
async function serve(t: Test, chunks: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>, options?: SendOptions): Promise<Stage> {
  const outcomes: Promise<Sent>[] = []
  const app = fastify({ forceCloseConnections: true })
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    handler: async (_request, reply) => {
      const sent = sendStream(reply.header('x-kept', 'yes').type('application/x-test'), chunks(), options)
      outcomes.push(sent.catch((error: unknown) => ({ outcome: 'failed', bytes: -1, error }) as const))
      await sent
    },
  })
  app.setErrorHandler((error, _request, reply) => reply.code(418).send(`before the first byte: ${(error as Error).message}`))
  t.teardown(() => app.close())
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { app, url: `http://localhost:${port}/`, port, outcomes }
}

async function ask(port: number): Promise<Socket> {
  const socket = connect(port, 'localhost')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  return socket
}

t.test('sends everything, with the headers of the reply, though the producer reuses one buffer', async (t) => {
  const sizes = [1, 100_000, 300_000, 16_384, 16_385, 262_144, 262_145, 7, 0, 65_000]
  const { url, outcomes } = await serve(t, async function* () {
    const buffer = Buffer.alloc(400_000)
    for (let round = 0; round < 5; round++) {
      for (const [i, size] of sizes.entries()) {
        buffer.fill(i + 10 * round)
        yield buffer.subarray(0, size)
      }
    }
  })
  const response = await fetch(url)
  t.equal(response.headers.get('x-kept'), 'yes')
  t.equal(response.headers.get('content-type'), 'application/x-test')
  const expected = createHash('sha1')
  for (let round = 0; round < 5; round++) for (const [i, size] of sizes.entries()) expected.update(Buffer.alloc(size, i + 10 * round))
  const body = Buffer.from(await response.arrayBuffer())
  t.equal(body.length, 5 * sizes.reduce((sum, size) => sum + size, 0))
  t.equal(createHash('sha1').update(body).digest('hex'), expected.digest('hex'))
  t.same(await outcomes[0], { outcome: 'sent', bytes: body.length })
})

t.test('an error before the first chunk is a proper answer', async (t) => {
  const { url } = await serve(t, async function* () {
    await Promise.reject(new Error('no'))
    yield Buffer.from('never')
  })
  const response = await fetch(url)
  t.equal(response.status, 418)
  t.equal(await response.text(), 'before the first byte: no')
})

t.test('an error after the first chunk breaks the connection: half an answer never looks whole', async (t) => {
  const { url, outcomes } = await serve(t, async function* () {
    yield Buffer.from('half')
    await delay(20)
    throw new Error('broken')
  })
  const response = await fetch(url)
  t.equal(response.status, 200)
  await t.rejects(response.text())
  t.match(await outcomes[0], { outcome: 'failed', bytes: 4, error: { message: 'broken' } })
})

t.test('a slow reader holds the producer back', async (t) => {
  let made = 0
  const { port, outcomes } = await serve(t, async function* () {
    const chunk = Buffer.alloc(128 * 1024, 1)
    for (; made < 400; made++) yield chunk
  })
  const socket = await ask(port)
  socket.pause()
  await delay(300)
  const ahead = made
  t.ok(ahead < 150, `${ahead} of 400 chunks were made for somebody who reads nothing`)
  await delay(100)
  t.equal(made, ahead, 'and no more until he reads')
  socket.resume()
  t.match(await outcomes[0], { outcome: 'sent', bytes: 400 * 128 * 1024 })
  socket.destroy()
})

t.test('when the client leaves, the producer is ended', async (t) => {
  let ended = 0
  const { port, outcomes } = await serve(t, async function* () {
    try {
      while (true) yield Buffer.alloc(64 * 1024)
    } finally {
      ended += 1
    }
  })
  const socket = await ask(port)
  await once(socket, 'data')
  socket.destroy()
  t.match(await outcomes[0], { outcome: 'left' })
  t.equal(ended, 1)
})

t.test('when the client leaves without having read, writes that never come back hold up nothing', async (t) => {
  let ended = 0
  const { port, outcomes } = await serve(t, async function* () {
    try {
      while (true) yield Buffer.alloc(1024 * 1024)
    } finally {
      ended += 1
    }
  })
  const socket = await ask(port)
  socket.pause()
  await delay(200)
  socket.resetAndDestroy()
  t.match(await outcomes[0], { outcome: 'left' })
  t.equal(ended, 1)
})

t.test('a client that takes nothing is given up; a producer that takes its time is not', async (t) => {
  const stuck = await serve(
    t,
    async function* () {
      while (true) yield Buffer.alloc(1024 * 1024)
    },
    { stallMs: 150 },
  )
  const socket = await ask(stuck.port)
  socket.pause()
  await delay(50)
  t.match(await stuck.outcomes[0], { outcome: 'left' })
  socket.destroy()

  const slow = await serve(
    t,
    async function* () {
      yield Buffer.from('a')
      await delay(500)
      yield Buffer.from('b')
    },
    { stallMs: 100 },
  )
  t.equal(await (await fetch(slow.url)).text(), 'ab')
})

t.test('answers with nothing in them, and plain generators', async (t) => {
  const { url } = await serve(t, () => [])
  t.equal(await (await fetch(url)).text(), '')
  const plain = await serve(t, () => [Buffer.from('x'), Buffer.from('y')])
  t.equal(await (await fetch(plain.url)).text(), 'xy')
})

t.test(
  'an answer that did not need the request is sent, and the rest of the request holds the connection for a moment only',
  { timeout: 15_000 },
  async (t) => {
    const { port, outcomes } = await serve(t, () => [Buffer.from('enough')], { unreadGraceMs: 300 })
    const socket = connect(port, 'localhost')
    let heard = ''
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
    socket.on('error', () => undefined)
    socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome')
    await delay(100)
    t.match(heard, /enough/)
    t.match(await outcomes[0], { outcome: 'sent', bytes: 6 })
    const closed = once(socket, 'close')
    t.match(await Promise.race([closed.then(() => 'closed'), delay(3_000, 'open', { ref: false })]), 'closed')
  },
)
