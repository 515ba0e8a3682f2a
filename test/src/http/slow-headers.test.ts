import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createMemoryHub } from '../../support/memory-hub.js'

t.test('a client that drips its headers is given up, and holds up nobody', async (t) => {
  const { app } = createMemoryHub({ headersTimeoutMs: 300 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  let text = ''
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  socket.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  const startedAt = performance.now()
  socket.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n')
  const drip = setInterval(() => socket.write('X-Slow: 1\r\n'), 50)
  for (let i = 0; i < 5; i++) {
    const { status } = await fetch(`http://127.0.0.1:${port}/healthz`)
    t.equal(status, 200)
    await delay(30)
  }
  await closed
  clearInterval(drip)
  t.match(text, /^HTTP\/1\.1 408 /)
  t.ok(performance.now() - startedAt >= 300)
})
