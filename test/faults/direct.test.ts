import { createHash, randomBytes } from 'node:crypto'
import { createServer, request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { createKeeper } from '../../src/kept/keep.js'
import { createLargeFiles } from '../../src/large-files/create-large-files.js'
import { acceptsOnlyBytes } from '../../src/server/direct-uploads.js'
import { createS3BlobStore } from '../../src/storage/s3-blob-store.js'
import { createS3Signer } from '../../src/storage/s3-signer.js'
import { freePort } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson } from '../support/tools/lfs-person.js'
import { replicasMissing, startReplicas } from '../support/replicas.js'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/* CAIRN_TRANSFER=direct: large files go between client and store, and the hub says where. */

const missing = await replicasMissing()
const gitLfs = (await findGitLfs())[0]!.found
const skip = missing || gitLfs.missing
let storeOrigin = ''
const hubs =
  skip === false
    ? await startReplicas(t, {
        count: 2,
        env: { CAIRN_TRANSFER: 'direct' },
        storeFront: async (endpoint) => (storeOrigin = await dropCopies(endpoint)),
      })
    : undefined
const home = await mkdtemp(join(tmpdir(), 'cairn-direct-'))
t.teardown(() => rm(home, { recursive: true, force: true }))

/** What docs/object-stores.md asks for in front of a MinIO: nobody outside may have it copy. */
function dropCopies(endpoint: string): Promise<string> {
  return storeFront(({ url, headers: { 'x-amz-copy-source': _dropped, ...headers } }) => ({ url: new URL(url!, endpoint), headers }))
}

/** Stands between clients and a store; `onwardOf` says what becomes of a request. */
async function storeFront(
  onwardOf: (incoming: IncomingMessage) => { readonly url: string | URL; readonly headers: OutgoingHttpHeaders },
): Promise<string> {
  const front = createServer((incoming, answer) => {
    const { url, headers } = onwardOf(incoming)
    const onward = request(url, { method: incoming.method, headers }, (response) => {
      answer.writeHead(response.statusCode!, response.headers)
      response.pipe(answer)
    })
    onward.once('error', () => answer.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => front.close(resolve)))
  return `http://127.0.0.1:${(front.address() as AddressInfo).port}`
}

interface Action {
  readonly href: string
}

async function batch(repo: string, operation: 'upload' | 'download', oid: string, size: number): Promise<Readonly<Record<string, Action>>> {
  const { status, body } = await hubs!.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation, objects: [{ oid, size }] })
  if (status !== 200) throw new Error(`batch answered ${status}: ${JSON.stringify(body)}`)
  return (body as { objects: [{ actions?: Readonly<Record<string, Action>> }] }).objects[0].actions ?? {}
}

const verify = (href: string, oid: string, size: number): Promise<Response> =>
  fetch(href, { method: 'POST', body: JSON.stringify({ oid, size }), headers: { 'content-type': 'application/vnd.git-lfs+json' } })

async function newRepo(name: string): Promise<string> {
  await hubs!.api('POST', '/api/cairn/repos', { id: `admin/${name}`, empty: true })
  return `admin/${name}`
}

/** What lies in the bucket without being an object yet. */
const staged = async (): Promise<string[]> => (await hubs!.s3.contents(hubs!.bucket)).filter((name) => name.startsWith('staging/'))

const newObject = (size = 100_000) => {
  const content = randomBytes(size)
  return { content, size, oid: createHash('sha256').update(content).digest('hex') }
}

t.test('what was put into the store counts once the hub has read it back', { skip }, async (t) => {
  const repo = await newRepo('sound')
  const { content, oid, size } = newObject()
  const actions = await batch(repo, 'upload', oid, size)
  t.equal(new URL(actions['upload']!.href).origin, storeOrigin, 'the bytes do not come to us')
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 404, 'nothing is there yet')
  t.equal((await fetch(actions['upload']!.href, { method: 'PUT', body: content })).status, 200)
  t.same(await batch(repo, 'download', oid, size), {}, 'it is not readable before it was verified')
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 200)
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 200, 'once more is as well')
  const { download } = await batch(repo, 'download', oid, size)
  t.equal(new URL(download!.href).origin, storeOrigin)
  t.ok(Buffer.from(await (await fetch(download!.href)).arrayBuffer()).equals(content))
  const part = await fetch(download!.href, { headers: { range: 'bytes=10-19' } })
  t.equal(part.status, 206)
  t.ok(Buffer.from(await part.arrayBuffer()).equals(content.subarray(10, 20)))
  t.same(await staged(), [], 'nothing stays behind')
})

t.test('bytes that are not the object are refused, and gone', { skip }, async (t) => {
  const repo = await newRepo('wrong')
  const { oid, size } = newObject()
  const actions = await batch(repo, 'upload', oid, size)
  t.equal((await fetch(actions['upload']!.href, { method: 'PUT', body: randomBytes(100_000) })).status, 200)
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 422)
  t.same(await batch(repo, 'download', oid, size), {})
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 404, 'they are gone')
  t.same(await staged(), [])
})

t.test('the store refuses more bytes than room was made for, and fewer', { skip }, async (t) => {
  const repo = await newRepo('parked')
  for (const [size, body] of [
    [1, randomBytes(5_000_000)],
    [100_000, randomBytes(99_999)],
    [0, randomBytes(1)],
  ] as const) {
    const { oid } = newObject(size)
    const actions = await batch(repo, 'upload', oid, size)
    t.equal(new URL(actions['upload']!.href).origin, storeOrigin)
    t.equal((await fetch(actions['upload']!.href, { method: 'PUT', body })).status, 403, `${body.length} bytes in place of ${size}`)
    t.equal((await verify(actions['verify']!.href, oid, size)).status, 404)
  }
  t.same(await staged(), [])
})

t.test('an object without bytes', { skip }, async (t) => {
  const repo = await newRepo('hollow')
  const { oid, size } = newObject(0)
  const actions = await batch(repo, 'upload', oid, size)
  t.equal((await fetch(actions['upload']!.href, { method: 'PUT', body: Buffer.alloc(0) })).status, 200)
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 200)
})

t.test('an object that is put twice, and verified by two at once', { skip }, async (t) => {
  const repo = await newRepo('twice')
  const { content, oid, size } = newObject(3_000_000)
  const actions = await batch(repo, 'upload', oid, size)
  for (let i = 0; i < 2; i++) await fetch(actions['upload']!.href, { method: 'PUT', body: content })
  const through = hubs!.replicas.map(({ url }) => actions['verify']!.href.replace(hubs!.url, url))
  const statuses = await Promise.all([...through, ...through].map(async (href) => (await verify(href, oid, size)).status))
  t.ok(statuses.includes(200), statuses.join(' '))
  t.equal((await verify(actions['verify']!.href, oid, size)).status, 200)
  const { download } = await batch(repo, 'download', oid, size)
  t.ok(Buffer.from(await (await fetch(download!.href)).arrayBuffer()).equals(content))
})

t.test('an upload that nobody verifies goes with its reservation', { skip }, async (t) => {
  const repo = await newRepo('forgotten')
  const { content, oid, size } = newObject()
  const actions = await batch(repo, 'upload', oid, size)
  await fetch(actions['upload']!.href, { method: 'PUT', body: content })
  const db = openDatabase({ connection: parseDatabaseUrl(hubs!.postgres.url()), maxConnections: 1, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  await db.execute(sql`UPDATE lfs_upload SET expires_at = now() - interval '1 minute' WHERE sha256 = decode(${oid}, 'hex')`)
  const store = createS3BlobStore(hubs!.s3.account(hubs!.bucket))
  t.teardown(() => store.close())
  const largeFiles = createLargeFiles({
    db,
    store,
    staging: store,
    keeper: createKeeper({ db, store }),
    reservableBytes: async () => 1_000_000_000,
    signedLinks: store,
  })
  t.match(await largeFiles.releaseExpired(), { uploads: 1, failed: [] })
  t.same(await staged(), [])
})

t.test('git-lfs pushes and clones; resolve leads to the store', { skip }, async (t) => {
  const person = await lfsPerson(t, { hub: hubs!, gitLfs: gitLfs.tool!, name: 'admin' })
  const repo = await newRepo('stock')
  const work = join(home, 'stock')
  await person.git(['init', '-q', work])
  await person.git(['lfs', 'track', '*.bin'], work)
  const { content, oid, size } = newObject(5_000_000)
  await person.commit(work, { 'model.bin': content })
  await person.git(['push', '-q', `${hubs!.url}/${repo}`, 'HEAD:main'], work)
  const clone = join(home, 'stock-clone')
  await person.git(['clone', '-q', `${hubs!.url}/${repo}`, clone])
  t.ok((await readFile(join(clone, 'model.bin'))).equals(content))
  for (const method of ['HEAD', 'GET']) {
    const answer = await fetch(`${hubs!.url}/${repo}/resolve/main/model.bin`, {
      method,
      redirect: 'manual',
      headers: { authorization: `Bearer ${hubs!.token}` },
    })
    t.equal(answer.status, 302, method)
    t.equal(new URL(answer.headers.get('location')!).origin, storeOrigin)
    t.equal(answer.headers.get('x-linked-etag'), `"${oid}"`)
    t.equal(answer.headers.get('x-linked-size'), String(size))
    t.match(answer.headers.get('x-repo-commit'), /^[0-9a-f]{40}$/)
    t.equal(answer.headers.get('cache-control'), 'private, no-store')
  }
  const bytes = await fetch(`${hubs!.url}/${repo}/resolve/main/model.bin`, { headers: { authorization: `Bearer ${hubs!.token}` } })
  t.equal(bytes.headers.get('content-disposition'), "attachment; filename*=UTF-8''model.bin")
  t.ok(Buffer.from(await bytes.arrayBuffer()).equals(content))
  const known = await fetch(`${hubs!.url}/${repo}/resolve/main/model.bin`, {
    redirect: 'manual',
    headers: { authorization: `Bearer ${hubs!.token}`, 'if-none-match': `"${oid}"` },
  })
  t.equal(known.status, 304)
})

t.test('a store that copies what nobody signed for gets no uploads from clients', { skip: missing }, async (t) => {
  const bare = await startReplicas(t, { count: 1, env: { CAIRN_TRANSFER: 'direct' } })
  t.match(bare.replicas[0]!.output(), /uploads come through the hub/)
  await bare.api('POST', '/api/cairn/repos', { id: 'admin/bare', empty: true })
  const { content, oid, size } = newObject()
  const ask = async (operation: string) => {
    const { body } = await bare.api('POST', '/admin/bare.git/info/lfs/objects/batch', { operation, objects: [{ oid, size }] })
    return (body as { objects: [{ actions: Readonly<Record<string, Action>> }] }).objects[0].actions
  }
  const { upload } = await ask('upload')
  t.equal(new URL(upload!.href).origin, bare.url)
  t.equal((await fetch(upload!.href, { method: 'PUT', body: content })).status, 200)
  const { download } = await ask('download')
  t.equal(new URL(download!.href).origin, bare.s3.endpoint, 'downloads need not')
  t.ok(Buffer.from(await (await fetch(download!.href)).arrayBuffer()).equals(content))
})

t.test('whether clients may put bytes is tried at the address they are given', { skip: missing }, async (t) => {
  const { s3, bucket } = hubs!
  const account = s3.account(bucket)
  const signer = createS3Signer(account)
  /** Lets nobody copy, and puts its own signature in place of the client's: what that was for is not looked at. */
  const signsItself = (incoming: IncomingMessage) => {
    const key = new URL(incoming.url!, s3.endpoint).pathname.slice(`/${bucket}/`.length)
    const { url, headers } = signer.sign({ method: incoming.method!, key }, 'UNSIGNED-PAYLOAD')
    return { url, headers: { ...headers, 'content-length': incoming.headers['content-length'] ?? '0' } }
  }
  for (const [what, publicEndpoint, accepts] of [
    ['a MinIO that copies', s3.endpoint, false],
    ['one that is kept from it', await dropCopies(s3.endpoint), true],
    ['one that takes more than was signed for', await storeFront(signsItself), false],
    ['nobody', `http://127.0.0.1:${await freePort()}`, false],
  ] as const) {
    const store = createS3BlobStore({ ...account, publicEndpoint })
    t.teardown(() => store.close())
    t.equal(await acceptsOnlyBytes(store, bucket), accepts, what)
  }
  t.same(await staged(), [])
})

t.test('other bytes put there while the hub looks do not become the object', { skip }, async (t) => {
  const repo = await newRepo('poisoned')
  const { content, oid, size } = newObject(40_000_000)
  const actions = await batch(repo, 'upload', oid, size)
  await fetch(actions['upload']!.href, { method: 'PUT', body: content })
  const verifying = verify(actions['verify']!.href, oid, size)
  const evil = Buffer.alloc(size, 'x')
  for (let i = 0; i < 3; i++) await fetch(actions['upload']!.href, { method: 'PUT', body: evil })
  await verifying
  // Whichever came first: what can be had under that name is the object, or nothing.
  const { download } = await batch(repo, 'download', oid, size)
  if (download) t.ok(Buffer.from(await (await fetch(download.href)).arrayBuffer()).equals(content))
  else t.pass('nothing was linked')
})
