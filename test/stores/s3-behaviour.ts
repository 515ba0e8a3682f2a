import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type tap from 'tap'
import type { BlobStore } from '../../src/storage/blob-store.js'
import { lfsKey, packKey, stagingKey } from '../../src/storage/keys.js'
import { createS3BlobStore } from '../../src/storage/s3-blob-store.js'
import { chunks, read, sha256 } from '../contracts/blob-store.js'
import { openS3Store } from '../support/s3-store.js'
import type { S3Server } from '../support/tools/s3-server.js'

const MiB = 2 ** 20

/** Pieces of a buffer, all from one memory that is used again. */
export const pieces = (content: Uint8Array, bytes = 300_000): AsyncGenerator<Uint8Array> =>
  chunks(...Array.from({ length: Math.ceil(content.length / bytes) }, (_, i) => content.subarray(i * bytes, (i + 1) * bytes)))

const same = async (store: BlobStore, key: Parameters<BlobStore['stat']>[0], content: Uint8Array): Promise<boolean> =>
  (await read(store, key)).equals(content)

/** What is promised of the S3 store beside the contracts. */
export function s3Behaviour(t: typeof tap, server: S3Server): void {
  const open = (options: Parameters<typeof openS3Store>[2] = {}) => openS3Store(t, server, options)

  t.test('bytes whose size is known are passed on as they come, and are whole', async (t) => {
    const { store, contents } = await open()
    const content = randomBytes(3_000_001)
    const key = packKey(sha256(content))
    for (const options of [{ bytes: 3_000_001 }, { bytes: 3_000_001, sha256: sha256(content) }]) {
      t.match(await store.put(key, pieces(content), options), { key, bytes: 3_000_001 })
      t.ok(await same(store, key, content))
      await store.delete(key)
      t.match(await store.put(key, pieces(content), { ...options, ifAbsent: true }), { bytes: 3_000_001 })
      t.ok(await same(store, key, content))
      t.match(await store.put(key, chunks('other'), { ...options, ifAbsent: true }), { bytes: 3_000_001 })
      await store.delete(key)
      t.equal(await store.stage(stagingKey('known'), pieces(content), options), 3_000_001)
      t.ok(await same(store, stagingKey('known'), content))
    }
    t.same(await contents(), ['staging/known'])
  })

  t.test('chunks that last are sent as they are', async (t) => {
    const { store } = await open()
    const content = randomBytes(3_000_001)
    const key = packKey(sha256(content))
    const lasting = (last: number) =>
      (async function* () {
        for (let at = 0; at < content.length; at += 70_000) yield content.subarray(at, at + 70_000)
        if (last > 0) yield Buffer.alloc(last)
      })()
    const options = { bytes: 3_000_001, sha256: sha256(content), chunksLast: true }
    for (const ifAbsent of [false, true]) {
      await t.rejects(store.put(key, lasting(1), { ...options, ifAbsent }), { code: 'corrupt' }, 'one too many')
      t.match(await store.put(key, lasting(0), { ...options, ifAbsent }), { key, bytes: 3_000_001 })
      t.ok(await same(store, key, content))
      await store.delete(key)
    }
  })

  t.test('bytes that are not the ones announced are refused, and nothing of them is there', async (t) => {
    const { store, contents } = await open()
    for (const size of [10, 3_000_000]) {
      const content = randomBytes(size)
      const key = packKey(sha256(content))
      const wrong = Buffer.from(content)
      wrong[size - 1]! ^= 1
      for (const ifAbsent of [false, true]) {
        const options = { bytes: size, sha256: sha256(content), ifAbsent }
        const refused = { name: 'HubError', code: 'corrupt' }
        await t.rejects(store.put(key, pieces(wrong), options), refused, `${size} other bytes`)
        await t.rejects(store.put(key, pieces(content.subarray(1)), options), refused, `one fewer than ${size}`)
        await t.rejects(store.put(key, pieces(Buffer.concat([content, Buffer.alloc(1)])), options), refused, `one more than ${size}`)
      }
      t.equal(await store.stat(key), undefined)
    }
    const upload = await store.begin(stagingKey('parts'))
    await t.rejects(store.part(upload, 1, chunks('other'), { bytes: 5, sha256: sha256('bytes') }), { code: 'corrupt' })
    t.match(await store.part(upload, 1, chunks('bytes'), { bytes: 5, sha256: sha256('bytes') }), { number: 1, bytes: 5 })
    await store.abort(upload)
    t.same(await contents(), [])
  })

  t.test('a source that finds out at its end that it is wrong leaves nothing, though its size was right', async (t) => {
    const { store, contents } = await open()
    const left = new AbortController()
    for (const options of [{ bytes: 1_000_000 }, { bytes: 1_000_000, ifAbsent: true }, { bytes: 1000 }]) {
      const source = (async function* () {
        yield Buffer.alloc(options.bytes)
        throw new Error('the hash is another')
      })()
      await t.rejects(store.put(stagingKey('late'), source, options), { message: 'the hash is another' })
      const leaving = (async function* () {
        yield Buffer.alloc(options.bytes)
        left.abort(new Error('gone'))
      })()
      await t.rejects(store.put(stagingKey('late'), leaving, { ...options, signal: left.signal }), { message: 'gone' })
    }
    t.same(await contents(), [])
  })

  t.test('large bodies go in parts: of unknown size, over what one request may carry, and from files', async (t) => {
    const { store, contents } = await open({ limits: { partBytes: 5 * MiB, singlePutBytes: 6 * MiB } })
    const content = randomBytes(16 * MiB + 17)
    const key = packKey(sha256(content))
    t.match(await store.put(key, pieces(content)), { bytes: 16 * MiB + 17 })
    t.ok(await same(store, key, content), 'of unknown size')
    await store.delete(key)
    t.match(await store.put(key, pieces(content), { bytes: content.length, ifAbsent: true }), { bytes: 16 * MiB + 17 })
    t.ok(await same(store, key, content), 'of known size')
    await store.delete(key)
    t.match(await store.put(key, pieces(content.subarray(0, 10 * MiB), MiB)), { bytes: 10 * MiB })
    t.ok(await same(store, key, content.subarray(0, 10 * MiB)), 'to the end of a part')
    await store.delete(key)
    const path = join(t.testdir(), 'file')
    await writeFile(path, content)
    await store.putFile(key, path, sha256(content))
    t.ok(await same(store, key, content), 'from a file')
    t.equal(existsSync(path), false)
    t.same(await contents(), [key])
  })

  t.test('a large body that breaks off leaves no parts', async (t) => {
    const { store, contents } = await open({ limits: { partBytes: 5 * MiB, singlePutBytes: 6 * MiB } })
    for (const options of [{}, { bytes: 20 * MiB }, { bytes: 12 * MiB }]) {
      const source = (async function* () {
        for (let i = 0; i < 13; i++) yield Buffer.alloc(MiB, i)
        throw new Error('the client left')
      })()
      await t.rejects(
        store.put(stagingKey('broken'), source, options),
        options.bytes === 12 * MiB ? { code: 'corrupt' } : { message: 'the client left' },
      )
    }
    t.same(await contents(), [])
  })

  t.test('a file that is not what its hash says stays the caller’s', async (t) => {
    const { store, contents } = await open({ limits: { partBytes: 5 * MiB } })
    for (const bytes of [1000, 11 * MiB]) {
      const path = join(t.testdir(), String(bytes))
      await writeFile(path, randomBytes(bytes))
      await t.rejects(store.putFile(packKey(sha256('other')), path, sha256('other')), { name: 'HubError', code: 'corrupt' })
      t.ok(existsSync(path), `${bytes} bytes`)
    }
    t.same(await contents(), [])
  })

  t.test('what is over the limit of one copy is promoted in parts', async (t) => {
    const { store, contents } = await open({ limits: { singleCopyBytes: 5 * MiB } })
    const content = randomBytes(12 * MiB + 5)
    const final = lfsKey(sha256(content))
    await store.stage(stagingKey('large'), pieces(content), { bytes: content.length })
    t.match(await store.promote(stagingKey('large'), final), { key: final, bytes: 12 * MiB + 5 })
    t.ok(await same(store, final, content))
    t.same(await contents(), [final])
    await store.put(final, chunks('cut off'))
    await store.stage(stagingKey('again'), pieces(content), { bytes: content.length })
    t.match(await store.promote(stagingKey('again'), final, { bytes: content.length }), { bytes: 12 * MiB + 5 }, 'in place of what is not whole')
    t.ok(await same(store, final, content))
    t.same(await contents(), [final])
  })

  t.test('a signed address takes and gives bytes without keys, for as long as it says', async (t) => {
    const { store, contents } = await open()
    const content = randomBytes(100_000)
    const key = stagingKey('signed')
    const put = await fetch(store.signedUrl(key, 'put', { expiresSeconds: 60 }), { method: 'PUT', body: content })
    t.equal(put.status, 200, await put.text())
    t.ok(await same(store, key, content))
    const get = await fetch(store.signedUrl(key, 'get', { expiresSeconds: 60, fileName: 'größe "1".bin' }))
    t.equal(get.status, 200)
    t.equal(get.headers.get('content-disposition'), "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22.bin")
    t.equal(get.headers.get('content-type'), 'application/octet-stream')
    t.ok(Buffer.from(await get.arrayBuffer()).equals(content))
    const part = await fetch(store.signedUrl(key, 'get', { expiresSeconds: 60 }), { headers: { range: 'bytes=10-19' } })
    t.equal(part.status, 206)
    t.ok(Buffer.from(await part.arrayBuffer()).equals(content.subarray(10, 20)))

    const other = new URL(String(store.signedUrl(key, 'get', { expiresSeconds: 60 })).replace('staging/signed', 'staging/other'))
    t.equal((await fetch(other)).status, 403, 'another key')
    t.equal((await fetch(store.signedUrl(key, 'get', { expiresSeconds: 60 }), { method: 'DELETE' })).status, 403, 'another use')
    const short = store.signedUrl(key, 'get', { expiresSeconds: 1 })
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    t.equal((await fetch(short)).status, 403, 'too late')
    t.same(await contents(), [key])
  })

  t.test('a signed address takes as many bytes as it was signed for, no more and no fewer', async (t) => {
    const { store, contents } = await open()
    const content = randomBytes(100_000)
    const key = stagingKey('measured')
    const put = (bytes: number, body: NonNullable<RequestInit['body']>) =>
      fetch(store.signedUrl(key, 'put', { expiresSeconds: 60, bytes }), { method: 'PUT', body, duplex: 'half' })
    for (const [what, bytes, body] of [
      ['more', 1, content],
      ['one more', 99_999, content],
      ['one fewer', 100_001, content],
      ['none', 100_000, Buffer.alloc(0)],
      ['some in place of none', 0, content],
    ] as const) {
      t.equal((await put(bytes, body)).status, 403, what)
    }
    // Some end the connection instead of an answer.
    const unmeasured = await put(100_000, new Blob([content]).stream()).then(
      ({ status }) => status,
      () => 'cut off',
    )
    t.ok([403, 411, 'cut off'].includes(unmeasured), `a body that does not say how long it is: ${unmeasured}`)
    t.same(await contents(), [])
    const right = await put(100_000, content)
    t.equal(right.status, 200, await right.text())
    t.ok(await same(store, key, content))
    t.equal((await put(0, Buffer.alloc(0))).status, 200, 'none where none were to come')
    t.match(await store.stat(key), { bytes: 0 })
  })

  t.test('a client puts the parts of an upload by signed addresses', async (t) => {
    const { store } = await open()
    const upload = await store.begin(stagingKey('direct'))
    const content = randomBytes(6 * MiB)
    const parts = await Promise.all(
      [content.subarray(0, 5 * MiB), content.subarray(5 * MiB)].map(async (body, i) => {
        const { status, headers } = await fetch(store.signedPartUrl(upload, i + 1, { expiresSeconds: 60 }), {
          method: 'PUT',
          body: Buffer.from(body),
        })
        t.equal(status, 200)
        return { number: i + 1, bytes: body.length, tag: headers.get('etag')! }
      }),
    )
    t.match(await store.complete(upload, parts), { bytes: 6 * MiB })
    t.ok(await same(store, stagingKey('direct'), content))
  })

  t.test('a reader who leaves, and one who is aborted midway, end their transfer', async (t) => {
    const { store } = await open({ connections: 1 })
    const content = randomBytes(8 * MiB)
    const key = packKey(sha256(content))
    await store.put(key, pieces(content), { bytes: content.length })
    for await (const chunk of await store.open(key)) if (chunk.length > 0) break
    const left = new AbortController()
    const reader = (await store.open(key, { signal: left.signal }))[Symbol.asyncIterator]()
    await reader.next()
    left.abort(new Error('gone'))
    await t.rejects(reader.next(), { message: 'gone' })
    // There is one connection: had one of them kept it, nothing would come any more.
    t.equal(
      createHash('sha256')
        .update(await read(store, key))
        .digest('hex'),
      sha256(content).toString('hex'),
    )
  })

  t.test('one that is replaced while it is read is not taken for the same', async (t) => {
    const { store } = await open()
    const key = stagingKey('replaced')
    await store.put(key, chunks('first'))
    const stream = await store.open(key)
    await store.put(key, chunks('other'))
    await t.rejects(stream[Symbol.asyncIterator]().next(), { code: 'corrupt', message: 'staging/replaced was replaced while it was read' })
    const gone = await store.open(key)
    await store.delete(key)
    await t.rejects(gone[Symbol.asyncIterator]().next(), { code: 'corrupt', message: 'staging/replaced is not in the store' })
  })

  t.test('more blobs than a page of the list holds are all listed, once and in order', async (t) => {
    const { store } = await open()
    const keys = Array.from({ length: 1005 }, (_, i) => stagingKey(`n-${String(i).padStart(4, '0')}`))
    const queue = [...keys]
    const work = async () => {
      for (let key = queue.pop(); key !== undefined; key = queue.pop()) await store.put(key, chunks('x'))
    }
    await Promise.all(Array.from({ length: 16 }, work))
    const listed: string[] = []
    for await (const { key } of store.list('staging/n-')) listed.push(key)
    t.same(listed, keys)
  })

  t.test('a bucket that is not there, and keys that are wrong, are named; no secret is', async (t) => {
    const { bucket } = await open()
    for (const [change, says] of [
      [{ bucket: 'cairn-nowhere' }, /^the store answered GET the bucket list-type with 404 NoSuchBucket: its bucket is not there$/],
      [{ secretKey: 'not-the-secret-of-it' }, /with 403 SignatureDoesNotMatch: a key is wrong, or a proxy changed the request$/],
      [
        { accessKey: 'nobody' },
        /with 40[34] (InvalidAccessKeyId|XAdminUserNotFound|SignatureDoesNotMatch): (it does not know the access key|a key is wrong, .*)$/,
      ],
    ] as const) {
      const store = createS3BlobStore({ ...server.account(bucket), ...change })
      t.teardown(() => store.close())
      const error = (await store.ping().then(
        () => undefined,
        (error: unknown) => error,
      )) as Error & { code: string }
      t.equal(error.code, 'unavailable')
      t.match(error.message, says)
      await t.rejects(store.put(stagingKey('x'), chunks('x')), { code: 'unavailable' })
      t.notMatch(JSON.stringify([error.message, error.stack]), /not-the-secret|cairn-test-secret/)
    }
  })
}
