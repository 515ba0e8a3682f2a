import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import tap, { type Test } from 'tap'
import { lfsKey, packKey, stagingKey } from '../../src/storage/keys.js'
import { createS3BlobStore, type S3BlobStoreOptions } from '../../src/storage/s3-blob-store.js'
import { chunks, read, sha256 } from '../contracts/blob-store.js'
import { pieces } from '../stores/s3-behaviour.js'
import { freePort } from '../support/hub.js'
import { openS3Store } from '../support/s3-store.js'
import { openFaultProxy, type Fault, type SeenRequest } from '../support/tools/fault-proxy.js'
import { findMinio } from '../support/tools/minio.js'

const MiB = 2 ** 20
const { found } = await findMinio()
const server = found.tool && (await found.tool.start(tap))

const test = (name: string, work: (t: Test) => Promise<void>): void => void tap.test(name, { skip: found.missing }, work)

/** A store behind the proxy, with limits that are soon reached. */
async function open(t: Test, options: Partial<S3BlobStoreOptions> = {}) {
  const proxy = await openFaultProxy(t, server!.endpoint)
  const limits = { partBytes: 5 * MiB, singlePutBytes: 8 * MiB, singleCopyBytes: 8 * MiB }
  const timeouts = { answerMs: 700, slowAnswerMs: 1500, idleMs: 700 }
  const opened = await openS3Store(t, server!, { endpoint: proxy.url, publicEndpoint: server!.endpoint, limits, timeouts, ...options })
  return { ...opened, proxy }
}

/** The fault for the first of each kind of request: by method and names of parameters, and by key and part where asked so. */
function firstOfEach(fault: Fault, byKey = true): (request: SeenRequest) => Fault | undefined {
  const known = new Set<string>()
  return ({ method, url }) => {
    const { pathname, searchParams } = new URL(url, 'http://store')
    const kind = [method, ...(byKey ? [pathname, searchParams.get('partNumber')] : []), ...searchParams.keys()].join(' ')
    if (known.has(kind)) return undefined
    known.add(kind)
    return fault
  }
}

const error = (code: string) => `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>planned</Message></Error>`

/** Everything a store does, with bodies that can be had again. What is left afterwards is known. */
async function everything(t: Test, { store, contents }: Awaited<ReturnType<typeof open>>): Promise<void> {
  const content = randomBytes(11 * MiB)
  const [small, known, large, file, final] = ['1', '2', '3', '4', '5'].map((text) => packKey(sha256(text)))
  t.match(await store.put(small!, chunks('small'), { ifAbsent: true }), { bytes: 5 })
  t.match(await store.put(known!, chunks('known'), { bytes: 5, sha256: sha256('known') }), { bytes: 5 })
  t.match(await store.put(large!, pieces(content)), { bytes: 11 * MiB })
  const path = join(t.testdir(), 'file')
  await writeFile(path, content)
  await store.putFile(file!, path, sha256(content))
  t.equal(existsSync(path), false)
  await store.put(stagingKey('one'), chunks('staged'))
  t.match(await store.promote(stagingKey('one'), final!), { bytes: 6 })
  await store.put(stagingKey('two'), pieces(content))
  const copied = lfsKey(sha256(content))
  t.match(await store.promote(stagingKey('two'), copied), { bytes: 11 * MiB })
  const upload = await store.begin(stagingKey('parts'))
  const part = await store.part(upload, 1, chunks('part'))
  t.match(await store.complete(upload, [part]), { bytes: 4 })
  const aborted = await store.begin(stagingKey('aborted'))
  await store.abort(aborted)
  await store.delete(stagingKey('parts'))
  await store.ping()
  for (const key of [large!, file!, copied]) t.ok((await read(store, key)).equals(content), key)
  t.equal(
    (await read(store, small!)).toString() + (await read(store, known!)).toString() + (await read(store, final!)).toString(),
    'smallknownstaged',
  )
  const listed: string[] = []
  for await (const { key } of store.list('')) listed.push(key)
  const expected = [copied, ...[small!, known!, large!, file!, final!].toSorted()]
  t.same(listed, expected)
  t.same(
    (await contents()).filter((name) => !name.endsWith('(upload)')),
    expected,
  )
}

for (const [name, fault] of [
  ['says once that it is busy', { answer: 503, body: error('SlowDown') }],
  ['fails once', { answer: 500, body: error('InternalError') }],
  ['is away behind its proxy', { answer: 502, body: '<html>Bad Gateway</html>' }],
  ['takes a request and loses its answer', 'lost-answer'],
  ['resets connections', { cutRequestAt: 0 }],
  ['does not answer', { stallAnswerAt: -1 }],
] as const) {
  test(`a store that ${name}, for each kind of request, is asked again, and nothing is doubled or lost`, async (t) => {
    const opened = await open(t)
    // Each one that is not answered costs a second.
    opened.proxy.plan = firstOfEach(fault, name !== 'does not answer')
    await everything(t, opened)
    t.ok(opened.proxy.seen.length > 45, `${opened.proxy.seen.length} requests`)
  })
}

test('an error that comes with status 200 is an error', async (t) => {
  const opened = await open(t)
  const first = firstOfEach({ answer: 200, body: error('InternalError') })
  opened.proxy.plan = (request) => (request.method === 'POST' || request.headers['x-amz-copy-source'] !== undefined ? first(request) : undefined)
  await everything(t, opened)
})

test('answers that break off are read on from where they were', async (t) => {
  const { store, proxy } = await open(t)
  const content = randomBytes(5 * MiB)
  const key = packKey(sha256(content))
  await store.put(key, pieces(content))
  for (const fault of [{ cutAnswerAt: 1_000_000 }, { stallAnswerAt: 1_000_000 }]) {
    proxy.seen.length = 0
    proxy.plan = ({ method }) => (method === 'GET' ? fault : undefined)
    t.ok((await read(store, key)).equals(content))
    t.ok((await read(store, key, { from: 100, to: 2_500_000 })).equals(content.subarray(100, 2_500_000)))
    t.same(
      proxy.seen.filter(({ method }) => method === 'GET').map(({ headers }) => headers['range']),
      [0, 1, 2, 3, 4, 5].map((i) => `bytes=${i * 1_000_000}-5242879`).concat([0, 1, 2].map((i) => `bytes=${100 + i * 1_000_000}-2499999`)),
    )
  }
  proxy.plan = ({ method }) => (method === 'GET' ? { cutAnswerAt: 0 } : undefined)
  await t.rejects(read(store, key), { name: 'HubError', code: 'unavailable', message: `${key} broke off at byte 0 of 5242880` })
})

test('a store that stays busy is given up, after five attempts', async (t) => {
  const { store, proxy } = await open(t)
  proxy.plan = () => ({ answer: 503, body: error('SlowDown') })
  await t.rejects(store.put(stagingKey('x'), chunks('x')), { code: 'unavailable', message: 'the store answered PUT staging/x with 503 SlowDown' })
  t.equal(proxy.seen.length, 5)
  proxy.seen.length = 0
  proxy.plan = () => ({ answer: 403, body: error('AccessDenied') })
  await t.rejects(store.delete(stagingKey('x')), {
    code: 'unavailable',
    message: 'the store answered DELETE staging/x with 403 AccessDenied: its access key may not do this',
  })
  t.equal(proxy.seen.length, 1, 'a refusal is not repeated')
  proxy.plan = () => ({ answer: 507, body: error('XMinioStorageFull') })
  await t.rejects(store.put(stagingKey('x'), chunks('x')), { code: 'storage-full' })
})

test('nobody there is found out, and said', async (t) => {
  const port = await freePort()
  const store = createS3BlobStore({ ...server!.account('any'), endpoint: `http://127.0.0.1:${port}` })
  t.teardown(() => store.close())
  await t.rejects(store.ping(), {
    name: 'HubError',
    code: 'unavailable',
    message: 'the store did not answer GET the bucket list-type: ECONNREFUSED',
  })
})

test('bytes from a client are sent once: what breaks off is not there, and the client is told', async (t) => {
  const { store, contents, proxy } = await open(t)
  const content = randomBytes(3 * MiB)
  let clients = 0
  for (const fault of [{ answer: 503, body: error('SlowDown') }, { cutRequestAt: 0 }, { cutRequestAt: 1_000_000 }, { stallAnswerAt: -1 }] as const) {
    proxy.plan = ({ method }) => (method === 'PUT' ? fault : undefined)
    for (const ifAbsent of [false, true]) {
      const key = stagingKey(`client-${++clients}`)
      proxy.seen.length = 0
      let ended = false
      const source = (async function* () {
        try {
          yield* pieces(content)
        } finally {
          ended = true
        }
      })()
      await t.rejects(store.put(key, source, { bytes: content.length, ifAbsent }), { name: 'HubError', code: 'unavailable' })
      t.equal(proxy.seen.filter(({ method }) => method === 'PUT').length, 1)
      t.ok(ended, 'the source was let go')
    }
    // One whose answer never came may have been taken.
    if (!('stallAnswerAt' in fault)) t.same(await contents(), [])
  }
  proxy.plan = () => undefined
  t.match(await store.put(stagingKey('client'), pieces(content), { bytes: content.length }), { bytes: 3 * MiB })
})

test('a file that cannot be stored stays the caller’s', async (t) => {
  const { store, contents, proxy } = await open(t)
  for (const bytes of [1000, 11 * MiB]) {
    const content = randomBytes(bytes)
    const path = join(t.testdir(), String(bytes))
    await writeFile(path, content)
    proxy.plan = ({ method }) => (method === 'PUT' ? { cutRequestAt: 500 } : undefined)
    await t.rejects(store.putFile(packKey(sha256(content)), path, sha256(content)), { name: 'HubError', code: 'unavailable' })
    t.ok(existsSync(path), `${bytes} bytes`)
  }
  t.same(await contents(), [])
})

test('a store without conditions is asked for one once; what is there stays all the same', async (t) => {
  const { store, proxy } = await open(t)
  proxy.plan = ({ headers }) => (headers['if-none-match'] === undefined ? undefined : { answer: 501, body: error('NotImplemented') })
  const asked = () => proxy.seen.filter(({ headers }) => headers['if-none-match'] !== undefined).length
  for (const options of [{}, { bytes: 400_000 }]) {
    const content = randomBytes(400_000)
    const key = packKey(sha256(content))
    t.match(await store.put(key, pieces(content), { ifAbsent: true, ...options }), { bytes: 400_000 })
    t.match(await store.put(key, chunks('other'), { ifAbsent: true }), { bytes: 400_000 })
    t.ok((await read(store, key)).equals(content))
  }
  t.equal(asked(), 1)
  const late = await open(t)
  late.proxy.plan = ({ headers }) => (headers['if-none-match'] === undefined ? undefined : { answer: 501, body: error('NotImplemented') })
  const large = randomBytes(6 * MiB)
  t.match(await late.store.put(packKey(sha256(large)), pieces(large), { ifAbsent: true }), { bytes: 6 * MiB }, 'in parts as well')
})

test('whoever comes second with a condition loses, and hears what is there', async (t) => {
  const { store, contents, proxy } = await open(t)
  // What looks before is told that nothing is there: the race is lost at the condition itself.
  const content = randomBytes(6 * MiB)
  for (const [bytes, options] of [
    [5, {}],
    [400_000, { bytes: 400_000 }],
    [6 * MiB, {}],
  ] as const) {
    const key = packKey(sha256(String(bytes)))
    await store.put(key, chunks('first'))
    let looks = 0
    proxy.plan = ({ method }) => (method === 'HEAD' && looks++ === 0 ? { answer: 404 } : undefined)
    t.match(await store.put(key, pieces(content.subarray(0, bytes)), { ifAbsent: true, ...options }), { bytes: 5 })
    t.equal((await read(store, key)).toString(), 'first')
    looks = 0
    let conflicts = 0
    proxy.plan = ({ method, headers }) => {
      if (method === 'HEAD' && looks++ === 0) return { answer: 404 }
      if (headers['if-none-match'] !== undefined && conflicts++ === 0) return { answer: 409, body: error('ConditionalRequestConflict') }
      return undefined
    }
    t.match(await store.put(key, pieces(content.subarray(0, bytes)), { ifAbsent: true, ...options }), { bytes: 5 })
    t.equal(conflicts, 2)
  }
  t.equal((await contents()).length, 3, 'no upload is left under way')
})

test('a writer who leaves cancels the request, and nothing is there', async (t) => {
  const { store, contents, proxy } = await open(t)
  for (const options of [{ bytes: 7 * MiB }, { bytes: 20 * MiB }, {}]) {
    proxy.seen.length = 0
    const left = new AbortController()
    const source = (async function* () {
      for (let i = 0; i < 20; i++) {
        yield Buffer.alloc(MiB, i)
        if (i === 5) left.abort(new Error('gone'))
        await delay(5)
      }
    })()
    await t.rejects(store.put(stagingKey('left'), source, { ...options, signal: left.signal }), { message: 'gone' })
    await delay(100)
    const put = proxy.seen.find(({ method }) => method === 'PUT')
    if (options.bytes !== undefined) t.equal(put?.left, true)
    t.same(await contents(), [])
  }
})

test('a writer whose store does not answer can leave', async (t) => {
  const { store, proxy } = await open(t, { timeouts: {} })
  proxy.plan = () => ({ stallAnswerAt: -1 })
  const left = new AbortController()
  setTimeout(() => left.abort(new Error('gone')), 200)
  const before = performance.now()
  await t.rejects(store.put(stagingKey('left'), chunks('x'), { signal: left.signal }), { message: 'gone' })
  t.ok(performance.now() - before < 5_000)
})

test('a reader who leaves cancels the request', async (t) => {
  const { store, proxy } = await open(t)
  const content = randomBytes(7 * MiB)
  const key = packKey(sha256(content))
  await store.put(key, pieces(content), { bytes: content.length })
  proxy.seen.length = 0
  for await (const chunk of await store.open(key)) if (chunk.length > 0) break
  const left = new AbortController()
  const reader = (await store.open(key, { signal: left.signal }))[Symbol.asyncIterator]()
  await reader.next()
  left.abort(new Error('gone'))
  await t.rejects(reader.next(), { message: 'gone' })
  proxy.plan = ({ method }) => (method === 'GET' ? { stallAnswerAt: 1000 } : undefined)
  const waiting = new AbortController()
  const stuck = (await store.open(key, { signal: waiting.signal }))[Symbol.asyncIterator]()
  await stuck.next()
  setTimeout(() => waiting.abort(new Error('tired')), 50)
  await t.rejects(stuck.next(), { message: 'tired' })
  await delay(200)
  t.same(
    proxy.seen.filter(({ method }) => method === 'GET').map((seen) => seen.left),
    [true, true, true],
  )
})
