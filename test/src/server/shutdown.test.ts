import { fastify } from 'fastify'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redactUrl } from '../../../src/http/redact-url.js'
import { createLogger } from '../../../src/server/logger.js'
import { createShutdown } from '../../../src/server/shutdown.js'
import { createPeopledHub } from '../../support/memory-hub.js'

async function serve(t: Test, closeGraceMs: number) {
  const steps: string[] = []
  let finish = () => {}
  const app = fastify()
  app.get('/slow', async () => {
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    return 'done'
  })
  app.get('/quick', async () => 'quick')
  await app.listen({ port: 0 })
  const shutdown = createShutdown({
    app,
    closeGraceMs,
    closeServices: async () => void steps.push('services'),
    log: (_fields, phrase) => steps.push(phrase),
  })
  t.teardown(() => {
    finish()
    app.server.closeAllConnections()
    return app.close()
  })
  return { app, shutdown, steps, finish: () => finish(), url: `http://localhost:${(app.server.address() as AddressInfo).port}` }
}

t.test('what is under way ends, nothing new begins, and the rest is closed afterwards', async (t) => {
  const { shutdown, steps, finish, url } = await serve(t, 5_000)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const request = get(`${url}/slow`, { agent })
  const answered = once(request, 'response')
  await delay(100)
  const stopped = shutdown.stop()
  await delay(50)
  t.same(steps, ['stopping'])
  t.equal(shutdown.stopping, true)
  await t.rejects(fetch(`${url}/quick`))
  finish()
  const [response] = (await answered) as [IncomingMessage]
  t.equal(response.statusCode, 200)
  response.resume()
  await stopped
  t.same(steps, ['stopping', 'services', 'stopped'])
})

t.test('who does not end within the grace is cut off', async (t) => {
  const { shutdown, steps, url } = await serve(t, 200)
  const cut = fetch(`${url}/slow`)
  await delay(100)
  const startedAt = performance.now()
  await Promise.all([shutdown.stop(), t.rejects(cut)])
  t.ok(performance.now() - startedAt < 1_500)
  t.same(steps, ['stopping', 'cutting off what is still open', 'services', 'stopped'])
})

t.test('asked twice, it hurries', async (t) => {
  const { shutdown, url } = await serve(t, 60_000)
  const cut = fetch(`${url}/slow`)
  await delay(100)
  const first = shutdown.stop()
  await Promise.all([shutdown.stop(), first, t.rejects(cut)])
})

t.test('no secret reaches the log', async (t) => {
  const lines: string[] = []
  const log = createLogger({ destination: { write: (line) => void lines.push(line) } })
  log.info(
    {
      headers: { authorization: 'Bearer hf_secret', cookie: 'hf_secret', 'set-cookie': 'hf_secret' },
      token: 'hf_secret',
      config: { secretKey: 'hf_secret', password: 'hf_secret' },
    },
    'seen',
  )
  log.error({ err: Object.assign(new Error('x'), { connection: { password: 'hf_secret' } }) }, 'failed')
  t.equal(lines.length, 2)
  t.notMatch(lines.join(''), 'hf_secret')
  t.match(JSON.parse(lines[0]!), { level: 30, msg: 'seen', token: '[redacted]' })
  t.equal(
    redactUrl('/x?a=1&access_token=hf_s&X-Amz-Signature=hf_s&b=2&key=hf_s'),
    '/x?a=1&access_token=[redacted]&X-Amz-Signature=[redacted]&b=2&key=[redacted]',
  )
})

t.test('a connection that never asked for anything holds up nothing', async (t) => {
  const { shutdown, steps, url } = await serve(t, 20_000)
  const { hostname, port } = new URL(url)
  const silent = connect(Number(port), hostname)
  silent.on('error', () => undefined)
  await once(silent, 'connect')
  const startedAt = performance.now()
  await shutdown.stop()
  t.ok(performance.now() - startedAt < 10_000)
  t.same(steps, ['stopping', 'services', 'stopped'])
})

t.test('a request that is on its way when the hub is told to stop is answered, and its connection ends', async (t) => {
  const { app } = createPeopledHub()
  await app.listen({ port: 0 })
  const shutdown = createShutdown({ app, closeGraceMs: 5_000, closeServices: async () => undefined, log: () => undefined })
  const socket = connect((app.server.address() as AddressInfo).port, 'localhost')
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
  // As a proxy's: kept open after an answer, and used again just now.
  socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'data')
  socket.write('GET /healthz HTTP/1.1\r\n')
  await delay(50)
  const stopped = shutdown.stop()
  await delay(50)
  answer = ''
  socket.write('Host: localhost\r\n\r\n')
  await once(socket, 'close')
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(answer, /\r\nconnection: close\r\n/i)
  await stopped
})
