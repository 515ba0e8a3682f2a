import { fastify, type FastifyInstance, type FastifyRequest } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { CommitOutcomeUnknown } from '../../../src/db/pool.js'
import { HubError } from '../../../src/errors.js'
import { createBaseUrl } from '../../../src/http/base-url.js'
import { readBody } from '../../../src/http/body-limit.js'
import { sendEarly } from '../../../src/http/early-answer.js'
import { answerTo, headerText } from '../../../src/http/error-map.js'
import { findRepoPath, parseNewRepoPath, repoUrl } from '../../../src/http/repo-path.js'
import { raiseTo, repoContext, requestHub, type Access } from '../../../src/http/request-context.js'
import { createPeopledHub } from '../../support/memory-hub.js'

t.test('a route that does not state what it needs stops the boot', async (t) => {
  const { app } = createPeopledHub()
  t.throws(() => app.get('/forgotten', async () => 'x'), /route GET \/forgotten does not state config.access/)
  const { app: second } = createPeopledHub()
  void second.register(async (child) => {
    child.post('/forgotten', async () => 'x')
  })
  await t.rejects(async () => second.ready(), /route POST \/forgotten does not state config.access/)
})

t.test('access is decided before a byte of the body is read', async (t) => {
  const { app } = createPeopledHub()
  t.teardown(() => app.close())
  await app.listen({ port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, 'localhost')
  t.teardown(() => socket.destroy())
  let heard = ''
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString()
  })
  socket.write('POST /alice/secret/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n')
  await delay(150)
  t.match(heard, /^HTTP\/1\.1 401 Unauthorized\r\n/)
  t.match(heard, /www-authenticate: Basic realm="Cairn"\r\n/)
  t.match(heard, /connection: close\r\n/i)
  const sending = (async () => {
    while (socket.write(Buffer.alloc(65_536))) await delay(1)
  })()
  await once(socket, 'close')
  await sending
})

t.test('what was settled is frozen, can be raised, and is decided again on what is true then', async (t) => {
  const hub = createPeopledHub()
  const route = (url: string, access: Access, work: (request: FastifyRequest) => unknown) =>
    hub.app.get(`${url}/:namespace/:name`, { config: { access, repoType: 'model' } }, async (request) => work(request))
  route('/frozen', 'content.read', (request) => Object.isFrozen(requestHub(request)) && repoContext(request).repo.name)
  route('/raised', 'content.read', (request) => {
    raiseTo(request, 'content.write')
    return 'raised'
  })
  route('/still', 'content.write', async (request) => {
    hub.tokens.delete('hf_owner')
    return { still: await repoContext(request).mayStill('content.write') }
  })
  route('/none', 'public', (request) => repoContext(request))
  const get = (url: string, token = 'hf_owner') => hub.app.inject({ url, headers: { authorization: `Bearer ${token}` } })
  t.equal((await get('/frozen/alice/open')).body, 'Open')
  t.equal((await get('/raised/alice/open')).body, 'raised')
  t.equal((await get('/raised/alice/open', 'hf_stranger')).statusCode, 403)
  t.equal((await get('/none/alice/open')).statusCode, 500)
  t.same((await get('/still/alice/open')).json(), { still: false })
})

t.test('clientGone stays quiet when a body was read, and speaks when the client leaves', async (t) => {
  const { app } = createPeopledHub()
  t.teardown(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  const seen: string[] = []
  let release = () => {}
  app.addContentTypeParser('text/x', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.post('/wait', { config: { access: 'public' } }, async (request) => {
    const { clientGone } = requestHub(request)
    clientGone.addEventListener('abort', () => seen.push('gone'))
    await new Promise<void>((resolve) => {
      release = resolve
      clientGone.addEventListener('abort', () => resolve())
    })
    seen.push(clientGone.aborted ? 'aborted' : 'answered')
    return 'x'
  })
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  const stays = fetch(`http://localhost:${port}/wait`, { method: 'POST', body: 'x', headers: { 'content-type': 'text/x' } })
  await delay(100)
  release()
  t.equal((await stays).status, 200)
  const leaving = new AbortController()
  const leaves = fetch(`http://localhost:${port}/wait`, { method: 'POST', body: 'x', headers: { 'content-type': 'text/x' }, signal: leaving.signal })
  await delay(100)
  leaving.abort()
  await t.rejects(leaves)
  await delay(50)
  t.same(seen, ['answered', 'gone', 'aborted'])
})

async function echo(
  t: Test,
  maxBytes: number,
  stallMs?: number,
): Promise<{ post: (body: Uint8Array | ReadableStream<Uint8Array>, encoding?: string) => Promise<string>; app: FastifyInstance }> {
  const app = fastify({ forceCloseConnections: true })
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setErrorHandler((error, request, reply) => sendEarly(request, reply.code(answerTo(error).status), answerTo(error).message))
  app.post('/', async (request) => {
    let bytes = 0
    for await (const chunk of readBody(request.raw, { maxBytes, ...(stallMs === undefined ? {} : { stallMs }) })) bytes += chunk.length
    return `${bytes} bytes`
  })
  t.teardown(() => app.close())
  await app.listen({ port: 0 })
  const url = `http://localhost:${(app.server.address() as AddressInfo).port}/`
  return {
    app,
    async post(body, encoding) {
      const response = await fetch(url, {
        method: 'POST',
        body,
        duplex: 'half',
        headers: { 'content-type': 'text/x', ...(encoding === undefined ? {} : { 'content-encoding': encoding }) },
      } as RequestInit & { duplex: 'half' })
      return `${response.status} ${await response.text()}`
    },
  }
}

t.test('bodies: plain, gzip, chunked, over their limit, broken', async (t) => {
  const { post } = await echo(t, 100_000)
  const plain = Buffer.alloc(100_000, 'a')
  t.equal(await post(plain), '200 100000 bytes')
  t.equal(await post(gzipSync(plain), 'gzip'), '200 100000 bytes')
  t.equal(await post(gzipSync(plain), 'X-GZIP'), '200 100000 bytes')
  t.equal(await post(Buffer.concat([gzipSync('abc'), gzipSync('def')]), 'gzip'), '200 6 bytes')
  t.equal(await post(new Blob([plain]).stream()), '200 100000 bytes')
  const tooMuch = '413 the request body is over the limit of 100000 bytes'
  t.equal(await post(Buffer.alloc(100_001)), tooMuch)
  t.equal(await post(gzipSync(Buffer.alloc(50_000_000)), 'gzip'), tooMuch, 'a bomb')
  t.equal(await post(gzipSync(plain).subarray(0, 50), 'gzip'), '400 the gzip body is broken')
  t.equal(await post(plain, 'gzip'), '400 the gzip body is broken')
  t.equal(await post(plain, 'br'), "415 content-encoding 'br' is not supported: use gzip or none")
  t.equal(await post(plain), '200 100000 bytes', 'and the server goes on')
})

t.test('a body that stops coming is given up', async (t) => {
  const { post } = await echo(t, 100_000, 100)
  const stuck = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(Buffer.from('x'))
    },
  })
  t.match(await post(stuck), '400 no byte of the request body came for 100 ms')
})

t.test('hosts we answer for', async (t) => {
  const own = createBaseUrl({ publicUrl: undefined, allowedHosts: ['Hub.Local', 'other:81'] })
  for (const host of [
    'localhost',
    'localhost:8080',
    '127.0.0.1:80',
    '127.9.9.9',
    '[::1]:8080',
    'x.localhost',
    'hub.local',
    'HUB.local:99',
    'other:81',
  ]) {
    t.equal(own({ protocol: 'http', host }), `http://${host}`)
  }
  for (const host of [
    '',
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil',
    'other',
    'other:82',
    '10.0.0.1',
    '[::2]',
    'a b',
    'localhost:123456',
  ]) {
    t.throws(() => own({ protocol: 'http', host }), { code: 'bad-host' }, JSON.stringify(host))
  }
  const fixed = createBaseUrl({ publicUrl: 'https://hub.example/x/', allowedHosts: [] })
  t.equal(fixed({ protocol: 'http', host: 'evil.example' }), 'https://hub.example/x')
})

t.test('errors as answers: from 500 up nothing is told of the cause', async (t) => {
  const answer = (error: unknown) => {
    const { status, message, hubCode, url } = answerTo(error)
    return [status, message, hubCode, url]
  }
  t.same(answer(new HubError('repo-not-found', 'Repository not found')), [404, 'Repository not found', 'RepoNotFound', undefined])
  t.same(answer(new HubError('already-exists', 'taken', { details: { url: 'http://x' } })), [409, 'taken', undefined, 'http://x'])
  t.same(answer(new HubError('sign-in-required', 'x', { details: { subject: 'gated' } })), [401, 'x', 'GatedRepo', undefined])
  t.same(answer(new HubError('corrupt', '/data/secret is bad')), [500, 'internal error: the log of the hub says more', undefined, undefined])
  t.same(answer(new HubError('unavailable', 'ECONNREFUSED 10.0.0.1')), [
    503,
    'the database or the store of the hub cannot be reached, try again soon',
    undefined,
    undefined,
  ])
  t.same(answer(new CommitOutcomeUnknown(new Error('x')))[0], 503)
  t.same(answer(new ProtocolError('too-large', 'a pack of 7 bytes')), [413, 'a pack of 7 bytes', undefined, undefined])
  t.same(answer(Object.assign(new Error('bad body'), { statusCode: 400 })), [400, 'bad body', undefined, undefined])
  for (const strange of [new Error('password=1'), Object.assign(new Error('x'), { statusCode: 500 }), 'text', null, undefined]) {
    t.same(answer(strange), [500, 'internal error: the log of the hub says more', undefined, undefined])
  }
  t.equal(headerText('a\r\nSet-Cookie: x\u00e9\u20ac b'), 'a Set-Cookie: x  b')
})

t.test('paths of repositories', async (t) => {
  t.same(findRepoPath('model', 'Alice', 'x.git'), { type: 'model', namespace: 'Alice', name: 'x' })
  t.same(findRepoPath('space', 'a', 'b.c-d_e'), { type: 'space', namespace: 'a', name: 'b.c-d_e' })
  const bad: [string, string][] = [
    ['api', 'x'],
    ['API', 'x'],
    ['datasets', 'x'],
    ['a', '.git'],
    ['a', 'x.git.git'],
    ['a', '..'],
    ['a', 'b/c'],
    ['a', ''],
    ['a', '-x'],
    ['a b', 'x'],
    ['a', 'x'.repeat(97)],
    ['a', 'x--y'],
    ['\u00e4', 'x'],
  ]
  for (const [namespace, name] of bad) t.equal(findRepoPath('model', namespace, name), undefined, `${namespace}/${name}`)
  t.throws(() => parseNewRepoPath('model', 'a', 'x.git'), {
    code: 'bad-request',
    message: "a/x.git: a repository name must not end in '.git' or '.ipynb'",
  })
  t.equal(repoUrl('http://h', { type: 'model', namespace: 'a', name: 'b' }), 'http://h/a/b')
  t.equal(repoUrl('http://h', { type: 'dataset', namespace: 'a', name: 'b' }), 'http://h/datasets/a/b')
})
