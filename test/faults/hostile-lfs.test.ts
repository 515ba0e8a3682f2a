/** What can be done to git-lfs over HTTP by who knows how it works. */
import { createHash, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { request as send } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { sql } from '../../src/db/sql.js'
import { serveHub } from '../support/served-hub.js'

const hub = await serveHub(t)
const { db, token: admin } = hub
const alice = await makeUser('alice')
const bob = await makeUser('bob')

async function makeUser(name: string): Promise<string> {
  await hub.api('POST', '/api/cairn/users', { name })
  const { body } = await hub.api('POST', `/api/cairn/users/${name}/tokens`, { name: 'test' })
  return (body as { token: string }).token
}

let made = 0
async function makeRepo(owner: string, token: string, isPrivate = true): Promise<string> {
  const id = `${owner}/repo${made++}`
  const { status } = await hub.api('POST', '/api/cairn/repos', { id, private: isPrivate, empty: true }, token)
  t.equal(status, 200)
  return id
}

interface Action {
  readonly href: string
}
interface ObjectAnswer {
  readonly oid: string
  readonly size: number
  readonly actions?: { readonly upload?: Action; readonly verify?: Action; readonly download?: Action }
  readonly error?: { readonly code: number; readonly message: string }
}

const oidOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function batch(
  repo: string,
  operation: string,
  objects: readonly { oid: string; size: number }[],
  token: string,
): Promise<readonly ObjectAnswer[]> {
  const { status, body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation, objects }, token)
  if (status !== 200) throw new Error(`${operation} of ${repo}: ${status} ${JSON.stringify(body)}`)
  return (body as { objects: ObjectAnswer[] }).objects
}

async function askUpload(repo: string, bytes: Uint8Array, token: string): Promise<{ href: string; verify: string }> {
  const [object] = await batch(repo, 'upload', [{ oid: oidOf(bytes), size: bytes.length }], token)
  return { href: object!.actions!.upload!.href, verify: object!.actions!.verify!.href }
}

const put = (href: string, bytes: Uint8Array) => fetch(href, { method: 'PUT', body: new Uint8Array(bytes) }).then(({ status }) => status)
const verify = (href: string, object: object) => fetch(href, { method: 'POST', body: JSON.stringify(object) }).then(({ status }) => status)

async function isReadable(repo: string, bytes: Uint8Array, token: string): Promise<boolean> {
  const [object] = await batch(repo, 'download', [{ oid: oidOf(bytes), size: bytes.length }], token)
  return object?.actions !== undefined
}

async function storeObject(repo: string, token: string, bytes: Uint8Array = randomBytes(1000)): Promise<Uint8Array> {
  t.equal(await put((await askUpload(repo, bytes, token)).href, bytes), 200)
  return bytes
}

async function downloadHref(repo: string, bytes: Uint8Array, token: string): Promise<string> {
  const [object] = await batch(repo, 'download', [{ oid: oidOf(bytes), size: bytes.length }], token)
  return object!.actions!.download!.href
}

const staged = async () => readdir(join(hub.dataDirectory, 'blobs', 'staging')).catch(() => [])

t.test('wrong bytes, too few and too many never become an object, and the right ones do afterwards', async (t) => {
  const repo = await makeRepo('alice', alice)
  const bytes = randomBytes(100_000)
  const { href, verify: verifyHref } = await askUpload(repo, bytes, alice)
  const wrong = Buffer.from(bytes)
  wrong[50_000]! ^= 1
  t.equal(await put(href, wrong), 422, 'other bytes')
  t.equal(await put(href, bytes.subarray(0, 99_999)), 422, 'too few')
  t.equal(await put(href, Buffer.concat([bytes, Buffer.alloc(1)])), 422, 'too many')
  const chunked = await fetch(href, { method: 'PUT', body: ReadableStream.from([bytes, Buffer.alloc(10)]), duplex: 'half' } as RequestInit)
  t.equal(chunked.status, 422, 'too many, without saying how many')
  t.equal(await verify(verifyHref, { oid: oidOf(bytes), size: bytes.length }), 404, 'verified before it is there')
  t.notOk(await isReadable(repo, bytes, alice))
  t.same(await staged(), [])
  t.equal(await put(href, bytes), 200)
  t.equal(await put(href, bytes), 200, 'sent twice')
  for (let i = 0; i < 2; i++) t.equal(await verify(verifyHref, { oid: oidOf(bytes), size: bytes.length }), 200)
  t.equal(await verify(verifyHref, { oid: oidOf(bytes), size: 1 }), 422, 'verified with another size')
  t.ok(await isReadable(repo, bytes, alice))
  t.same(await staged(), [])
})

t.test('a client that leaves in the middle leaves nothing', async (t) => {
  const repo = await makeRepo('alice', alice)
  const bytes = randomBytes(2_000_000)
  const { href } = await askUpload(repo, bytes, alice)
  for (const part of [0.1, 0.5, 0.9]) {
    const request = send(href, { method: 'PUT', headers: { 'content-length': bytes.length } })
    request.on('error', () => undefined)
    await new Promise<void>((resolve) => request.write(bytes.subarray(0, bytes.length * part), () => resolve()))
    await new Promise((resolve) => setTimeout(resolve, 50))
    request.destroy()
    t.notOk(await isReadable(repo, bytes, alice))
  }
  for (let i = 0; i < 100 && (await staged()).length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20))
  t.same(await staged(), [])
  t.equal(await put(href, bytes), 200)
  t.ok(await isReadable(repo, bytes, alice))
})

t.test('what cannot become the object is refused before it is sent', async (t) => {
  const repo = await makeRepo('alice', alice)
  const bytes = randomBytes(1000)
  const { href } = await askUpload(repo, bytes, alice)
  const request = send(href, { method: 'PUT', headers: { 'content-length': 10_000_000_000 } })
  request.on('error', () => undefined)
  request.write('a beginning')
  const status = await new Promise((resolve) => request.on('response', (response) => resolve(response.statusCode)))
  request.destroy()
  t.equal(status, 422)
  t.equal((await fetch(href, { method: 'PUT', body: gzipSync(bytes), headers: { 'content-encoding': 'gzip' } })).status, 422, 'another length')
  const packed = gzipSync(randomBytes(10_000)).subarray(0, 1000)
  t.equal((await fetch(href, { method: 'PUT', body: packed, headers: { 'content-encoding': 'gzip' } })).status, 415, 'compressed')
})

t.test('two repositories that send the same object at once have one copy of it', async (t) => {
  const repos = await Promise.all([makeRepo('alice', alice), makeRepo('bob', bob)])
  const bytes = randomBytes(500_000)
  const hrefs = [await askUpload(repos[0]!, bytes, alice), await askUpload(repos[1]!, bytes, bob)]
  t.same(await Promise.all(hrefs.map(({ href }) => put(href, bytes))), [200, 200])
  t.ok(await isReadable(repos[0]!, bytes, alice))
  t.ok(await isReadable(repos[1]!, bytes, bob))
  const rows = await db.query(sql`SELECT FROM stored_blob WHERE key LIKE ${`lfs/%${oidOf(bytes)}`}`)
  t.equal(rows.length, 1)
})

t.test('knowing the name of somebody else’s object gives nothing, and tells nothing', async (t) => {
  const closed = await makeRepo('alice', alice)
  const bytes = await storeObject(closed, alice)
  const own = await makeRepo('bob', bob)
  const unknown = { oid: oidOf(randomBytes(10)), size: bytes.length }
  const shape = (object: ObjectAnswer | undefined) => JSON.stringify(object).replaceAll(/[0-9a-f]{64}|token=[^"]*/g, '')
  const object = { oid: oidOf(bytes), size: bytes.length }
  for (const operation of ['download', 'upload']) {
    const [there] = await batch(own, operation, [object], bob)
    const [absent] = await batch(own, operation, [unknown], bob)
    t.equal(shape(there), shape(absent), `${operation} of what there is and what there is not`)
  }
  t.notOk(await isReadable(own, bytes, bob))
  const { href, verify: verifyHref } = await askUpload(own, bytes, bob)
  t.equal(await verify(verifyHref, object), 404, 'saying that it was sent is not sending it')
  t.equal(await put(href, Buffer.alloc(bytes.length)), 422)
  t.notOk(await isReadable(own, bytes, bob))
  const resolve = await fetch(`${hub.url}/${closed}/resolve/main/x`, { headers: { authorization: `Bearer ${bob}` } })
  t.equal(resolve.status, 404)
  t.equal(await put(href, bytes), 200, 'who has the bytes may have them here')
  t.ok(await isReadable(own, bytes, bob))
})

t.test('who can read an object elsewhere need not send it', async (t) => {
  const open = await makeRepo('alice', alice, false)
  const bytes = await storeObject(open, alice)
  const own = await makeRepo('bob', bob)
  const [object] = await batch(own, 'upload', [{ oid: oidOf(bytes), size: bytes.length }], bob)
  t.same(object, { oid: oidOf(bytes), size: bytes.length })
  t.ok(await isReadable(own, bytes, bob))
})

t.test('a link is good for one use of one object of one repository', async (t) => {
  const repo = await makeRepo('alice', alice)
  const other = await makeRepo('alice', alice)
  const bytes = await storeObject(repo, alice)
  const more = await storeObject(repo, alice)
  const href = await downloadHref(repo, bytes, alice)
  const status = (address: string, init: RequestInit = {}) => fetch(address, init).then((answer) => answer.status)
  t.equal(await status(href), 200)
  t.equal(await status(href, { method: 'HEAD' }), 200)
  const token = new URL(href).searchParams.get('token')!
  const [payload = '', kid = '', mac = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  const forged = (changes: object) => `${Buffer.from(JSON.stringify({ ...claims, ...changes })).toString('base64url')}.${kid}.${mac}`
  const cases: readonly [what: string, address: string, init?: RequestInit][] = [
    ['of another object', href.replace(oidOf(bytes), oidOf(more))],
    ['in another repository', href.replace(repo, other)],
    ['as a dataset', href.replace(`/${repo}`, `/datasets/${repo}`)],
    ['to write', href, { method: 'PUT', body: new Uint8Array(bytes) }],
    ['to verify', href.replace(/objects\/[0-9a-f]+/, 'objects/verify'), { method: 'POST', body: '{}' }],
    ['without a token', href.split('?')[0]!],
    ['with two', `${href}&token=${token}`],
    ['longer than it was', href.replace(token, forged({ exp: 9e15 }))],
    ['for another object, forged', href.replace(token, forged({ oid: oidOf(more) })).replace(oidOf(bytes), oidOf(more))],
    ['cut', href.slice(0, -3)],
    ['of nobody’s key', href.replace(`.${kid}.`, '.nobody.')],
    ['with a path in place of the oid', href.replace(oidOf(bytes), '..%2f..%2f..%2fetc%2fpasswd')],
    ['with a huge token', `${href.split('?')[0]}?token=${'a'.repeat(10_000)}`],
    ['with no JSON', `${href.split('?')[0]}?token=${Buffer.from('x').toString('base64url')}.${kid}.${mac}`],
  ]
  for (const [what, address, init] of cases) t.match(String(await status(address, init)), /^40[34]$/, what)
})

t.test('links end with what they stood on', async (t) => {
  const carol = await makeUser('carol')
  const repo = await makeRepo('carol', carol)
  const bytes = await storeObject(repo, carol)
  const fresh = randomBytes(100)
  const status = async (href: string, init: RequestInit = {}) => (await fetch(href, init)).status
  const read = await downloadHref(repo, bytes, carol)
  const write = (await askUpload(repo, fresh, carol)).href
  t.equal(await status(read), 200)

  await db.execute(sql`UPDATE tokens SET revoked_at = now() WHERE namespace_id = (SELECT id FROM namespaces WHERE name = 'carol')`)
  t.equal(await status(read), 403, 'the token was revoked')
  t.equal(await status(write, { method: 'PUT', body: new Uint8Array(fresh) }), 403)
  await db.execute(sql`UPDATE tokens SET revoked_at = NULL WHERE namespace_id = (SELECT id FROM namespaces WHERE name = 'carol')`)
  t.equal(await status(read), 200)

  await db.execute(sql`UPDATE tokens SET role = 'read' WHERE namespace_id = (SELECT id FROM namespaces WHERE name = 'carol')`)
  t.equal(await status(write, { method: 'PUT', body: new Uint8Array(fresh) }), 403, 'the token may not write any more')
  t.equal(await status(read), 200)

  const open = await makeRepo('alice', alice, false)
  const shown = await storeObject(open, alice)
  const anybody = await downloadHref(open, shown, '')
  t.equal(await status(anybody), 200)
  await db.execute(sql`UPDATE repositories SET visibility = 'private' WHERE name = ${open.split('/')[1]!}`)
  t.equal(await status(anybody), 401, 'the repository was closed')

  await db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE name = ${repo.split('/')[1]!}`)
  t.equal(await status(read), 403, 'the repository was deleted')
})

t.test('parts of an object', async (t) => {
  const repo = await makeRepo('alice', alice)
  const bytes = await storeObject(repo, alice, randomBytes(1000))
  const href = await downloadHref(repo, bytes, alice)
  const part = async (headers: Record<string, string>) => {
    const answer = await fetch(href, { headers })
    const body = Buffer.from(await answer.arrayBuffer())
    return [answer.status, answer.headers.get('content-range'), body.length, answer.status < 300 && answer.status !== 304 ? body : undefined] as const
  }
  const slice = (from: number, to: number) => Buffer.from(bytes.subarray(from, to))
  t.same(await part({ range: 'bytes=100-199' }), [206, 'bytes 100-199/1000', 100, slice(100, 200)])
  t.same(await part({ range: 'bytes=999-999' }), [206, 'bytes 999-999/1000', 1, slice(999, 1000)])
  t.same(await part({ range: 'bytes=900-5000' }), [206, 'bytes 900-999/1000', 100, slice(900, 1000)])
  t.same(await part({ range: 'bytes=-10' }), [206, 'bytes 990-999/1000', 10, slice(990, 1000)])
  t.same((await part({ range: 'bytes=1000-' })).slice(0, 2), [416, 'bytes */1000'])
  t.same((await part({ range: 'bytes=0-1,5-6' })).slice(0, 2), [416, 'bytes */1000'])
  t.same(await part({ range: 'lines=1-2' }), [200, null, 1000, slice(0, 1000)])
  t.same((await part({ 'if-none-match': `"${oidOf(bytes)}"` })).slice(0, 3), [304, null, 0])
  t.same((await part({ 'if-match': '"something else"' }))[0], 412)
  t.same(await part({ range: 'bytes=0-9', 'if-range': '"something else"' }), [200, null, 1000, slice(0, 1000)])
  const empty = await storeObject(repo, alice, Buffer.alloc(0))
  const none = await fetch(await downloadHref(repo, empty, alice))
  t.same([none.status, (await none.arrayBuffer()).byteLength], [200, 0])
})

t.test('bodies that are no batch', async (t) => {
  const repo = await makeRepo('alice', alice)
  const call = (body: RequestInit['body'], headers: Record<string, string> = {}) =>
    fetch(`${hub.url}/${repo}/info/lfs/objects/batch`, { method: 'POST', body: body!, headers: { authorization: `Bearer ${alice}`, ...headers } })
  const objects = (count: number) => Array.from({ length: count }, (_, i) => ({ oid: i.toString(16).padStart(64, '0'), size: 1 }))
  const cases: readonly [what: string, body: RequestInit['body'], headers: Record<string, string>, status: number][] = [
    ['no JSON', 'nothing', {}, 400],
    ['nothing', '', {}, 400],
    ['half of it', '{"operation":"upload","objects":[{', {}, 400],
    ['a thousand objects', JSON.stringify({ operation: 'upload', objects: objects(1000) }), {}, 200],
    ['one more', JSON.stringify({ operation: 'upload', objects: objects(1001) }), {}, 413],
    ['5 MB', JSON.stringify({ operation: 'upload', objects: [], x: 'x'.repeat(5_000_000) }), {}, 413],
    ['a bomb', gzipSync(Buffer.alloc(50_000_000, ' ')), { 'content-encoding': 'gzip' }, 413],
    ['gzip', gzipSync(JSON.stringify({ operation: 'download', objects: [] })), { 'content-encoding': 'gzip' }, 200],
    ['a charset', JSON.stringify({ operation: 'download', objects: [] }), { 'content-type': 'application/vnd.git-lfs+json; charset=utf-8' }, 200],
    ['deep JSON', `{"operation":"download","objects":[],"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, {}, 200],
    ['a prototype', '{"operation":"download","objects":[],"__proto__":{"objects":[1]}}', {}, 200],
    ['sha512', JSON.stringify({ operation: 'download', objects: [], hash_algo: 'sha512' }), {}, 409],
  ]
  for (const [what, body, headers, expected] of cases) {
    const answer = await call(body, headers)
    t.equal(answer.status, expected, what)
    const { message } = (await answer.json()) as { message?: string }
    t.match(answer.headers.get('content-type'), 'application/vnd.git-lfs+json', what)
    if (expected !== 200) t.ok(message, `${what} is told why`)
  }
})

t.test('a lock is its owner’s, in its repository', async (t) => {
  const repo = await makeRepo('alice', alice)
  const other = await makeRepo('alice', alice)
  const locks = (method: string, path: string, body: unknown, token: string, of = repo) =>
    hub.api(method, `/${of}.git/info/lfs/locks${path}`, body, token)
  const { status, body } = await locks('POST', '', { path: 'a.bin' }, alice)
  const { id } = (body as { lock: { id: string } }).lock
  t.equal(status, 201)
  t.match(await locks('POST', '', { path: 'a.bin' }, admin), {
    status: 409,
    body: { lock: { id, owner: { name: 'alice' } }, message: 'already locked by alice' },
  })
  t.equal((await locks('POST', `/${id}/unlock`, { force: true }, bob)).status, 404, 'a stranger')
  t.equal((await locks('POST', `/${id}/unlock`, { force: true }, alice, other)).status, 404, 'in another repository')
  t.equal((await locks('POST', `/${id}/unlock`, {}, admin)).status, 403, 'somebody else, without force')
  for (const path of ['', '/etc/passwd', '../x', 'a//b', 'a/', './a', 'a\0b', 'x'.repeat(5000)]) {
    t.match(String((await locks('POST', '', { path }, alice)).status), /^4[02]\d$/, JSON.stringify(path.slice(0, 20)))
  }
  for (const path of ['/x/unlock', '/00000000-0000-0000-0000-000000000000/unlock', "/'%20OR%201=1/unlock"]) {
    t.equal((await locks('POST', path, {}, alice)).status, 404, path)
  }
  t.match(await locks('POST', '/verify', {}, admin), { status: 200, body: { ours: [], theirs: [{ id }] } })
  t.match(await locks('POST', '/verify', {}, alice), { status: 200, body: { ours: [{ id }], theirs: [] } })
  t.equal((await locks('POST', `/${id}/unlock`, { force: true }, admin)).status, 200, 'who runs the hub, with force')
  t.equal((await locks('POST', `/${id}/unlock`, {}, alice)).status, 404, 'gone')

  for (let i = 0; i < 7; i++) await locks('POST', '', { path: `file ${i}` }, alice)
  const paths: string[] = []
  let cursor = ''
  for (let pages = 0; pages < 10; pages++) {
    const page = (await locks('GET', `?limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`, undefined, alice)).body as {
      locks: { path: string }[]
      next_cursor?: string
    }
    paths.push(...page.locks.map(({ path }) => path))
    cursor = page.next_cursor ?? ''
    if (cursor === '') break
  }
  t.same(
    paths,
    Array.from({ length: 7 }, (_, i) => `file ${i}`),
  )
  t.match((await locks('GET', '?path=file%203', undefined, alice)).body, { locks: [{ path: 'file 3' }] })
  t.equal((await locks('GET', '?cursor=nonsense', undefined, alice)).status, 422)
  t.equal((await locks('GET', '?limit=-1', undefined, alice)).status, 400)
})
