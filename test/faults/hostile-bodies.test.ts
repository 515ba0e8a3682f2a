import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import {
  basic,
  fetchBody,
  health,
  history,
  makeEmpty,
  makeUser,
  openSocket,
  packOfAnswer,
  post,
  push,
  pushHead,
  refsOf,
  requestHead,
  residentBytes,
  sendRaw,
  v2,
  zero,
} from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { bodyOf, pkts } from '../support/wire.js'

const hub = await startHub(t, { env: { CAIRN_MAX_BINARY_BYTES: '100MiB' } })
const { oid: tip, pack: wholePack } = history('hello\n')

const open = await makeEmpty(hub, 'open')
const closed = await makeEmpty(hub, 'closed', { private: true })
const stranger = await makeUser(hub, 'stranger')
for (const repo of [open, closed]) {
  const { refs } = await push(hub, repo, [[zero, tip, 'refs/heads/main']], wholePack)
  if (refs[0] !== 'ok refs/heads/main') throw new Error(`setting up ${repo}: ${refs.join()}`)
}

const lsRefs = pkts('command=ls-refs', '0001', '0000')
const uploadHeaders = ['Content-Type: application/x-git-upload-pack-request', 'Git-Protocol: version=2']

t.test('gzip bombs are put out, and gzip that is none is refused', async (t) => {
  const gzipped = (bytes: Buffer, encoding = 'gzip') =>
    post(hub, open, 'git-upload-pack', gzipSync(bytes), { headers: { ...v2, 'content-encoding': encoding } })
  for (const encoding of ['gzip', 'x-gzip', 'GZIP']) t.match((await gzipped(lsRefs, encoding)).text, `${tip} refs/heads/main`, encoding)

  const before = await residentBytes(hub)
  const zeros = await gzipped(Buffer.alloc(10_000_000))
  t.match(zeros.text, 'ERR bad pkt-line length')
  const flushes = await gzipped(Buffer.alloc(10_000_000, '0'))
  t.equal(flushes.status, 200)
  t.equal(flushes.text, '0000')

  const line = `have ${'1'.repeat(40)}\n`
  const haves = (times: number) =>
    Buffer.concat([pkts('command=fetch', '0001', `want ${tip}`), Buffer.alloc(times * 50, pkts(line)), pkts('done', '0000')])
  t.match((await gzipped(haves(100_001))).text, 'ERR more than 100000 haves in one request')
  const prefixes = Buffer.concat([pkts('command=ls-refs', '0001'), Buffer.alloc(17 * 2 ** 20, pkts(`ref-prefix ${'a'.repeat(245)}`)), pkts('0000')])
  t.match((await gzipped(prefixes)).text, 'ERR the request is over 16777216 bytes')
  const huge = Buffer.concat([pkts('command=ls-refs', '0001'), Buffer.alloc(400 * 2 ** 20, pkts(`ref-prefix ${'a'.repeat(245)}`))])
  const answer = await gzipped(huge)
  t.ok([200, 400, 413].includes(answer.status), `${answer.status}`)
  t.match(answer.text, 'over')
  t.ok((await residentBytes(hub)) - before < 200 * 2 ** 20, 'memory stays')

  const whole = gzipSync(lsRefs)
  const broken: readonly [what: string, body: Buffer][] = [
    ['cut off', whole.subarray(0, 20)],
    ['plain', lsRefs],
    ['a wrong checksum', Buffer.concat([whole.subarray(0, -8), Buffer.from('wrongsum')])],
    ['nothing', Buffer.alloc(0)],
  ]
  for (const [what, body] of broken) {
    const { status, text } = await post(hub, open, 'git-upload-pack', body, { headers: { ...v2, 'content-encoding': 'gzip' } })
    t.equal(status, 400, `${what}: ${text}`)
  }
  for (const encoding of ['br', 'deflate', 'zstd', 'gzip, gzip', 'compress', 'x']) {
    const { status, text } = await post(hub, open, 'git-upload-pack', lsRefs, { headers: { ...v2, 'content-encoding': encoding } })
    t.equal(status, 415, encoding)
    t.match(text, `content-encoding '${encoding}' is not supported`)
  }
  // A push may be gzipped as well.
  const repo = await makeEmpty(hub, 'gzipped')
  const body = gzipSync(Buffer.concat([pushHead([[zero, tip, 'refs/heads/main']]), wholePack]))
  t.match((await post(hub, repo, 'git-receive-pack', body, { headers: { 'content-encoding': 'gzip' } })).text, 'ok refs/heads/main')
  await health(hub)
})

t.test('an answer that did not need the whole request leaves its connection fit for the next', async (t) => {
  const body = gzipSync(Buffer.concat([pkts('command=ls-refs', '0001'), Buffer.alloc(100 * 2 ** 20, pkts(`ref-prefix ${'a'.repeat(245)}`))]))
  const cases: readonly [what: string, headers: readonly string[], body: Buffer][] = [
    ['gzip that goes on', [`Content-Length: ${body.length}`, 'Content-Encoding: gzip'], body],
    ['bytes behind the flush', ['Content-Length: 300000'], Buffer.concat([lsRefs, Buffer.alloc(300_000 - lsRefs.length, '0')])],
  ]
  for (const [what, headers, bytes] of cases) {
    const head = requestHead(hub, `POST /${open}/git-upload-pack`, [...uploadHeaders, ...headers])
    const started = performance.now()
    const next = requestHead(hub, 'GET /healthz', ['Connection: close'])
    const { statuses } = await sendRaw(hub, Buffer.concat([Buffer.from(head), bytes, Buffer.from(next)]), { quietMs: 3_000 })
    t.same(statuses, [200, 200], what)
    t.ok(performance.now() - started < 3_000, what)
  }
})

t.test('a million wants are refused in words', async (t) => {
  const want = pkts(`want ${tip}\n`)
  const million = Buffer.concat([pkts('command=fetch', '0001'), Buffer.alloc(1_000_000 * want.length, want), pkts('done', '0000')])
  const { status, text } = await post(hub, open, 'git-upload-pack', gzipSync(million), { headers: { ...v2, 'content-encoding': 'gzip' } })
  t.equal(status, 200)
  t.match(text, 'ERR more than 100000 wants in one request')
  const some = Buffer.concat([pkts('command=fetch', '0001'), Buffer.alloc(200_000 * want.length, want), pkts('done', '0000')])
  t.match((await post(hub, open, 'git-upload-pack', some, { headers: v2 })).text, 'ERR more than 100000 wants in one request')
  const most = Buffer.concat([pkts('command=fetch', '0001'), Buffer.alloc(100_000 * want.length, want), pkts('done', '0000')])
  t.equal(packOfAnswer((await post(hub, open, 'git-upload-pack', most, { headers: v2 })).body).readUInt32BE(8), 3)
  const v0 = Buffer.concat([pkts(`want ${tip} side-band-64k\n`), Buffer.alloc(100_000 * want.length, want), pkts('0000', 'done\n')])
  t.match((await post(hub, open, 'git-upload-pack', v0)).text, 'ERR more than 100000 wants in one request')
  await health(hub)
})

t.test('the probe before a long body is answered on both services, to those who may', async (t) => {
  for (const service of ['git-upload-pack', 'git-receive-pack'] as const) {
    const { status, text, headers } = await post(hub, open, service, Buffer.from('0000'))
    t.equal(status, 200)
    t.equal(text, '0000')
    t.equal(headers.get('content-type'), `application/x-${service}-result`)
    t.equal((await post(hub, closed, service, Buffer.from('0000'), { token: '' })).status, 401)
    t.match((await post(hub, open, service, Buffer.alloc(0))).text, 'the request is empty')
    t.equal((await post(hub, open, service, Buffer.from('0000'), { headers: { 'content-type': 'text/plain' } })).status, 415)
  }
  t.equal((await post(hub, open, 'git-receive-pack', Buffer.from('0000'), { token: '' })).status, 401)
  t.equal((await post(hub, open, 'git-receive-pack', Buffer.from('0000'), { token: stranger })).status, 403)
})

t.test('bodies may come in chunks of any size', async (t) => {
  const repo = await makeEmpty(hub, 'chunked')
  const body = Buffer.concat([pushHead([[zero, tip, 'refs/heads/main']]), wholePack])
  const bytes = Array.from(body, (byte) => Buffer.from([byte]))
  t.match((await post(hub, repo, 'git-receive-pack', bodyOf(...bytes))).text, 'ok refs/heads/main')
  t.match((await post(hub, repo, 'git-upload-pack', bodyOf(lsRefs.subarray(0, 3), lsRefs.subarray(3)), { headers: v2 })).text, 'refs/heads/main')

  const work = await workTree(t.testdir())
  await work.commit({ large: randomBytes(3 * 2 ** 20) })
  const config = ['-c', 'http.postBuffer=65536']
  await git([...config, 'push', '-q', hub.remote(repo), 'main:refs/heads/large'], { cwd: work.cwd })
  t.equal((await refsOf(hub, repo))['refs/heads/large'], await work.rev('main'))
})

t.test('a client that waits for 100 Continue gets it, or its refusal', async (t) => {
  const body = Buffer.concat([pushHead([[zero, tip, 'refs/heads/expected']]), wholePack])
  const ask = async (t: Test, repo: string, token: string): Promise<string> => {
    const socket = await openSocket(hub)
    t.teardown(() => socket.destroy())
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (/^HTTP\/1\.1 100 Continue\r\n\r\n$/.test(text)) socket.write(body)
    })
    socket.write(
      requestHead(hub, `POST /${repo}/git-receive-pack`, [
        ...(token === '' ? [] : [`Authorization: ${basic(token)}`]),
        'Content-Type: application/x-git-receive-pack-request',
        `Content-Length: ${body.length}`,
        'Expect: 100-continue',
        'Connection: close',
      ]),
    )
    await once(socket, 'close')
    return text
  }
  t.match(await ask(t, open, hub.token), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*ok refs\/heads\/expected/)
  t.match(await ask(t, closed, ''), /HTTP\/1\.1 401 /)
  const odd = requestHead(hub, `POST /${open}/git-upload-pack`, [
    ...uploadHeaders,
    'Content-Length: 4',
    'Expect: the-unexpected',
    'Connection: close',
  ])
  t.same((await sendRaw(hub, `${odd}0000`)).statuses, [417])
})

t.test('clients that stall in their request do not hold up others', async (t) => {
  const starts = [
    'P',
    `POST /${open}/git-upload-pack HTTP/1.1\r\nHost: x`,
    `${requestHead(hub, `POST /${open}/git-upload-pack`, [...uploadHeaders, 'Content-Length: 1000'])}0`,
    `${requestHead(hub, `POST /${open}/git-receive-pack`, [`Authorization: ${basic(hub.token)}`, 'Content-Type: application/x-git-receive-pack-request', 'Transfer-Encoding: chunked'])}4\r\n00`,
    requestHead(hub, `POST /${open}/git-receive-pack`, [
      `Authorization: ${basic(hub.token)}`,
      'Content-Type: application/x-git-receive-pack-request',
      'Content-Length: 100000000',
    ]) + pushHead([[zero, tip, 'refs/heads/stalled']]).toString('latin1'),
  ]
  const sockets = await Promise.all(Array.from({ length: 200 }, () => openSocket(hub)))
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  for (const [i, socket] of sockets.entries()) socket.write(Buffer.from(starts[i % starts.length]!, 'latin1'))
  await delay(300)
  for (let i = 0; i < 5; i++) {
    t.ok((await health(hub)) < 1_000)
    t.equal((await post(hub, open, 'git-upload-pack', fetchBody([tip]), { headers: v2 })).status, 200)
  }
  const repo = await makeEmpty(hub, 'beside-stalled')
  t.same((await push(hub, repo, [[zero, tip, 'refs/heads/main']], wholePack)).refs, ['ok refs/heads/main'])
})

t.test('clients that never read their clone hold up nobody and take little memory', async (t) => {
  const repo = await makeEmpty(hub, 'unread')
  const work = await workTree(t.testdir())
  const oid = await work.commit({ large: randomBytes(24 * 2 ** 20) })
  await git(['push', '-q', hub.remote(repo), 'main'], { cwd: work.cwd })
  await git(['clone', '-q', '--bare', hub.remote(repo), join(t.testdirName, 'warm')])
  const before = await residentBytes(hub)
  const body = fetchBody([oid])
  const sockets = await Promise.all(Array.from({ length: 40 }, () => openSocket(hub)))
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  for (const socket of sockets) {
    socket.pause()
    socket.write(
      Buffer.concat([Buffer.from(requestHead(hub, `POST /${repo}/git-upload-pack`, [...uploadHeaders, `Content-Length: ${body.length}`])), body]),
    )
  }
  await delay(500)
  t.ok((await health(hub)) < 1_000)
  await git(['clone', '-q', '--bare', hub.remote(repo), join(t.testdirName, 'beside')])
  const grown = (await residentBytes(hub)) - before
  t.ok(grown < 200 * 2 ** 20, `forty of them: ${Math.round(grown / 2 ** 20)} MB`)
})

t.test('JSON that is too long, too deep or poisonous is refused', async (t) => {
  const cases: readonly [what: string, body: string, status: number][] = [
    ['too long', JSON.stringify({ name: 'x'.repeat(40_000_000) }), 413],
    ['too deep', '['.repeat(500_000), 400],
    ['deep within its limits', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 400],
    ['no end', '{"name":', 400],
    ['a prototype', '{"name":"x","__proto__":{"x":1}}', 400],
    ['a constructor', '{"name":"x","constructor":{"prototype":{"x":1}}}', 400],
    ['a number', '1e999999', 400],
    ['no UTF-8', '\xff\xfe{', 400],
  ]
  for (const [what, body, status] of cases) {
    const head = requestHead(hub, 'POST /api/repos/create', [
      `Authorization: Bearer ${hub.token}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ])
    const answer = await sendRaw(hub, head + body)
    t.same(answer.statuses, [status], `${what}: ${answer.text.slice(-200)}`)
    t.ok((await health(hub)) < 1_000)
  }
})

t.test('texts that no database can hold are refused as any other', async (t) => {
  const cases: readonly [method: string, path: string, body?: unknown][] = [
    ['POST', '/api/cairn/users', { name: 'a\0b' }],
    ['POST', '/api/cairn/users/admin/tokens', { name: 'a\0b' }],
    ['POST', '/api/cairn/users/admin/tokens', { name: '\ud800' }],
    ['POST', '/api/cairn/users/a%00b/tokens', { name: 'x' }],
    ['POST', '/api/repos/create', { name: 'a\0b' }],
    ['POST', '/api/repos/create', { name: 'nul', type: 'space', sdk: 'a\0b' }],
    ['POST', '/api/cairn/repos', { id: 'admin/a\0b' }],
    ['DELETE', '/api/repos/delete', { name: 'a\0b' }],
    ['GET', '/api/models/admin%00/open'],
    ['GET', '/api/models/admin/open/revision/%00'],
    ['GET', '/api/models/admin/open/revision/%ff'],
  ]
  for (const [method, path, body] of cases) {
    const { status } = await hub.api(method, path, body)
    t.ok(status >= 400 && status < 500, `${method} ${path} ${JSON.stringify(body)}: ${status}`)
  }
  t.notMatch(hub.output(), /"level":[56]0/, 'nothing in this file was our fault')
})
