import { randomBytes } from 'node:crypto'
import type { LookupFunction } from 'node:net'
import t, { type Test } from 'tap'
import { fetch, Agent } from 'undici'
import { packKey, stagingKey } from '../../src/storage/keys.js'
import type { S3BlobStore } from '../../src/storage/s3-blob-store.js'
import { chunks, read, sha256 } from '../contracts/blob-store.js'
import { openS3Store } from '../support/s3-store.js'
import { makeCertificates } from '../support/tools/certificates.js'
import { findMinio } from '../support/tools/minio.js'
import { pieces } from './s3-behaviour.js'

const { found } = await findMinio()
const skip = found.missing

/** Every name is this machine. */
const lookup: LookupFunction = (_host, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}

/** One of each: bodies from memory, as they come, in parts; a read; a copy; a list. */
async function works(t: Test, store: S3BlobStore): Promise<void> {
  await store.ping()
  const content = randomBytes(6 * 2 ** 20)
  const key = packKey(sha256(content))
  t.match(await store.put(stagingKey('small'), chunks('small'), { ifAbsent: true }), { bytes: 5 })
  t.match(await store.put(key, pieces(content), { bytes: content.length, sha256: sha256(content) }), { bytes: 6291456 })
  t.ok((await read(store, key)).equals(content))
  t.match(await store.put(key, pieces(content)), { bytes: 6291456 })
  t.ok((await read(store, key)).equals(content))
  const other = packKey(sha256('other'))
  t.match(await store.promote(stagingKey('small'), other), { bytes: 5 })
  await t.rejects(store.put(key, pieces(content), { bytes: content.length, sha256: sha256('other') }), { code: 'corrupt' })
  const keys: string[] = []
  for await (const info of store.list('')) keys.push(info.key)
  t.same(keys, [key, other].toSorted())
}

const limits = { partBytes: 5 * 2 ** 20 }

t.test('a bucket is addressed by path, and by host', { skip }, async (t) => {
  const server = await found.tool!.start(t, { domain: 's3.example' })
  const port = new URL(server.endpoint).port
  const endpoint = `http://s3.example:${port}`
  for (const addressing of ['path', 'host'] as const) {
    const { store, bucket } = await openS3Store(t, server, { addressing, endpoint, lookup, limits })
    await works(t, store)
    const url = store.signedUrl(stagingKey('x'), 'get', { expiresSeconds: 60 })
    t.equal(url.host + url.pathname, addressing === 'path' ? `s3.example:${port}/${bucket}/staging/x` : `${bucket}.s3.example:${port}/staging/x`)
    const dispatcher = new Agent({ connect: { lookup } })
    t.teardown(() => dispatcher.close())
    const put = await fetch(store.signedUrl(stagingKey('x'), 'put', { expiresSeconds: 60 }), { dispatcher, method: 'PUT', body: 'signed' })
    t.equal(put.status, 200)
    t.equal(await (await fetch(url, { dispatcher })).text(), 'signed')
  }
})

t.test('links are signed for the public address, whatever the hub’s own is', { skip }, async (t) => {
  const server = await found.tool!.start(t)
  const port = new URL(server.endpoint).port
  const publicEndpoint = `http://localhost:${port}`
  const { store, bucket } = await openS3Store(t, server, { publicEndpoint })
  const key = stagingKey('x')
  const put = store.signedUrl(key, 'put', { expiresSeconds: 60 })
  t.equal(put.origin + put.pathname, `${publicEndpoint}/${bucket}/staging/x`)
  t.equal((await fetch(put, { method: 'PUT', body: 'public' })).status, 200)
  t.equal((await read(store, key)).toString(), 'public')
  const get = store.signedUrl(key, 'get', { expiresSeconds: 60 })
  t.equal(await (await fetch(get)).text(), 'public')
  const rewritten = new URL(get)
  rewritten.hostname = '127.0.0.1'
  t.equal((await fetch(rewritten)).status, 403, 'the signature covers the host')
  const upload = await store.begin(key)
  t.equal(store.signedPartUrl(upload, 1, { expiresSeconds: 60 }).origin, publicEndpoint)
  await store.abort(upload)
  t.throws(() => store.signedPartUrl(upload, 0, { expiresSeconds: 60 }), { code: 'invalid' })
})

t.test('a store with a certificate of a private authority is believed when that is named', { skip }, async (t) => {
  const { folder, ca } = await makeCertificates(t.testdir(), ['localhost', 's3.example', '*.s3.example'])
  const server = await found.tool!.start(t, { certificates: folder, domain: 's3.example' })
  const port = new URL(server.endpoint).port
  const trusting = await openS3Store(t, server, { ca, limits })
  await works(t, trusting.store)
  const byHost = await openS3Store(t, server, { ca, limits, lookup, endpoint: `https://s3.example:${port}`, addressing: 'host' })
  await works(t, byHost.store)
  const { store } = await openS3Store(t, server, { attempts: 1 })
  await t.rejects(store.ping(), {
    code: 'unavailable',
    message: 'the store did not answer GET the bucket list-type: UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  })
  const otherName = await openS3Store(t, server, { ca, lookup, endpoint: `https://other.example:${port}`, attempts: 1 })
  await t.rejects(otherName.store.ping(), { code: 'unavailable', message: /ERR_TLS_CERT_ALTNAME_INVALID$/ })
})
