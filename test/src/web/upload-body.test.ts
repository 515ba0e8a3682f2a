import { fastifyMultipart } from '@fastify/multipart'
import { fastify } from 'fastify'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { HubError } from '../../../src/errors.js'
import { sendEarly } from '../../../src/http/early-answer.js'
import { createUploadSpool } from '../../../src/repos/upload-spool.js'
import { readUploadBody } from '../../../src/web/upload-body.js'

const directory = t.testdir({})
const spool = createUploadSpool({ directory, maxBytes: 1_000_000 })
const app = fastify({ exposeHeadRoutes: false })
await app.register(fastifyMultipart)
app.post('/', async (request, reply) => {
  try {
    const { fields, files, dispose } = await readUploadBody(request, {
      receive: (chunks) => spool.receive(chunks),
      stallMs: 300,
      async checkFields(fields) {
        if (fields.get('csrf') === 'wrong') throw new HubError('forbidden', 'no')
      },
    })
    const said = { fields: Object.fromEntries(fields), files: files.map(({ name, content }) => [name, content.size]) }
    await dispose()
    return await reply.send(said)
  } catch (error) {
    const { code, message } = error as Error & { readonly code?: string }
    return sendEarly(request, reply.type('application/json'), JSON.stringify({ code, message }))
  }
})
await app.listen({ host: '127.0.0.1', port: 0 })
t.teardown(() => app.close())
const { port } = app.server.address() as { port: number }

async function send(body: string | Uint8Array, type = 'multipart/form-data; boundary=x'): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: { 'content-type': type }, body })
  return response.json()
}
const field = (name: string, value: string): string => `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
const file = (name: string, content: string): string =>
  `--x\r\ncontent-disposition: form-data; name="files"; filename="${name}"\r\n\r\n${content}\r\n`
const end = '--x--\r\n'

t.test('fields and files come as they were sent; where nothing was picked there is no file', async (t) => {
  t.same(await send(field('branch', 'ünï') + file('', '') + file('a/ä "b".txt'.replaceAll('"', '%22'), 'abc') + field('late', '1') + end), {
    fields: { branch: 'ünï', late: '1' },
    files: [['a/ä "b".txt', 3]],
  })
  t.same(await send(end), { fields: {}, files: [] })
  t.same(await send(file('', 'x') + end), { fields: {}, files: [['', 1]] }, 'a file without a name is still one')
})

t.test('what is no whole form is refused', async (t) => {
  const whole = field('csrf', 'x') + file('a', 'abc'.repeat(1000)) + end
  for (let at = 1; at < whole.length - 4; at += 97)
    t.match(await send(whole.slice(0, at)), { code: /^(bad-request|FST_MP_PREMATURE_CLOSE)$/ }, `cut off at ${at}`)
  for (const type of [
    'multipart/form-data',
    'multipart/form-data; boundary=',
    `multipart/form-data; boundary=${'y'.repeat(300)}`,
    'multipart/form-data; boundary=other',
  ])
    t.match(await send(whole, type), { code: 'bad-request' }, type)
  t.same(readdirSync(directory), [])
})

t.test('fields that are too many, too long, twice there or not plain are refused', async (t) => {
  t.match(await send(field('a', '1') + field('a', '2') + end), { code: 'bad-request', message: "the field 'a' is there twice" })
  t.match(await send(field('a', 'x'.repeat(64 * 1024 + 1)) + end), { code: 'too-large' })
  t.match(await send(Array.from({ length: 21 }, (_, i) => field(`f${i}`, 'x')).join('') + end), { code: 'FST_FIELDS_LIMIT' })
  for (const name of ['__proto__', 'constructor', 'toString']) t.match(await send(field(name, 'x') + end), { code: 'FST_PROTO_VIOLATION' })
  t.match(await send(`--x\r\ncontent-disposition: form-data; name="a"\r\ncontent-type: application/json\r\n\r\n{"x":1}\r\n${end}`), {
    code: 'bad-request',
  })
})

t.test('no file is taken in before the fields are found to be in order', async (t) => {
  t.match(await send(field('csrf', 'wrong') + file('a', 'x'.repeat(500_000)) + end), { code: 'forbidden' })
  t.match(await send(field('csrf', 'wrong') + end), { code: 'forbidden' })
  t.match(await send(file('a', 'x'.repeat(1_000_001)) + end), { code: 'too-large' })
  t.match(await send(file('a', 'x'.repeat(600_000)) + file('b', 'x'.repeat(600_000)) + end), { code: 'too-large' })
  t.same(readdirSync(directory), [])
  t.equal(spool.usedBytes, 0)
})

t.test('who stops sending is given up', async (t) => {
  const socket = connect(port, '127.0.0.1')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => undefined)
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 100000\r\n\r\n${file('a', 'half')}`)
  const began = performance.now()
  await closed
  t.ok(performance.now() - began < 5000)
  for (let i = 0; i < 100 && spool.usedBytes > 0; i++) await delay(20)
  t.same(readdirSync(directory), [])
  t.equal(spool.usedBytes, 0)
})
