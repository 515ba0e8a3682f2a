/** A file that should never have been pushed, taken out of everything a hub keeps. */
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { encodePointer } from '../../../lfs/pointer.js'
import { oidBytes } from '../../../protocol/oid.js'
import type { Oid } from '../../../protocol/types.js'
import { runCli } from '../../../src/cli/commands.js'
import { sql } from '../../../src/db/sql.js'
import { callApi } from '../../support/api.js'
import { workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { serveHub } from '../../support/served-hub.js'

const hub = await serveHub(t)
const { db, token } = hub
const remote = (repo: string) => hub.url.replace('://', `://user:${token}@`) + `/${repo}`

async function cairn(...args: string[]) {
  const lines: string[] = []
  const say = (text: string) => void lines.push(text)
  const code = await runCli(args, { env: { CAIRN_URL: hub.url, CAIRN_TOKEN: token }, out: say, err: say })
  return { code, text: lines.join('\n') }
}

/** Every byte the database and the store hold of packs, read as git would read them. */
async function isAnywhere(oid: string): Promise<boolean> {
  const name = Buffer.from(oid, 'hex')
  const inline = await db.query<{ idx: Buffer }>(sql`SELECT idx FROM pack_inline`)
  if (inline.some(({ idx }) => idx.includes(name))) return true
  const files = (await readdir(join(hub.dataDirectory, 'blobs'), { recursive: true })).filter((file) => file.endsWith('.idx'))
  for (const file of files) {
    const { stdout } = await git(['show-index'], { input: await readFile(join(hub.dataDirectory, 'blobs', file)) })
    if (stdout.toString().includes(oid)) return true
  }
  return false
}

async function leak(t: { testdir(): string }, name: string, bytes: Buffer) {
  const repo = `admin/${name}`
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const work = await workTree(t.testdir())
  const push = (...refspecs: string[]) => git(['push', '-q', '--force', remote(repo), ...refspecs], { cwd: work.cwd })
  const clean = await work.commit({ a: '1' }, 'clean')
  await push(`${clean}:refs/heads/main`)
  const leaked = await work.commit({ secret: bytes }, 'oops')
  await push(`${leaked}:refs/heads/main`)
  return { repo, work, push, clean, leaked, secret: await work.rev(`${leaked}:secret`) }
}

t.test('refused while a ref leads to it, and gone from database, store and memory once none does', async (t) => {
  for (const size of [500, 300_000]) {
    const { repo, push, clean, leaked, secret } = await leak(t, `leak-${size}`, randomBytes(size))
    t.match(await cairn('repo', 'purge', repo, '--gone', secret), { code: 1, text: new RegExp(`still leads to ${secret} \\[409\\]`) })
    await push(`${clean}:refs/heads/main`)
    await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
    t.equal(await isAnywhere(secret), true, 'a collection keeps it for the retention time')
    t.match(await cairn('repo', 'purge', repo, '--gone', secret), { code: 0, text: /^purged: \d+ objects no ref led to, \d+ packs of garbage/ })
    t.equal(await isAnywhere(secret), false)
    t.match(await cairn('repo', 'restore', repo, 'main', leaked), { code: 1, text: /gone for good/ })
    const clone = t.testdir()
    await git(['clone', '-q', '--mirror', remote(repo), clone])
    await git(['fsck', '--strict', '--full'], { cwd: clone })
  }
})

t.test('without a collection before it as well, and again when there is nothing left', async (t) => {
  const { repo, push, clean, secret } = await leak(t, 'direct', randomBytes(1_000))
  await push(`${clean}:refs/heads/main`)
  t.match(await cairn('repo', 'purge', repo), { code: 0, text: /^purged: 3 objects/ })
  t.equal(await isAnywhere(secret), false)
  t.match(await cairn('repo', 'purge', repo), { code: 0, text: /^purged: 0 objects no ref led to, 0 packs of garbage, 0 stored blobs/ })
})

t.test('another repository that was pushed the same keeps it', async (t) => {
  const bytes = randomBytes(200_000)
  const one = await leak(t, 'one', bytes)
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/two', empty: true })
  await git(['push', '-q', remote('admin/two'), `${one.clean}:refs/heads/main`], { cwd: one.work.cwd })
  await git(['push', '-q', remote('admin/two'), `${one.leaked}:refs/heads/main`], { cwd: one.work.cwd })
  await one.push(`${one.clean}:refs/heads/main`)
  t.equal((await cairn('repo', 'purge', one.repo, '--gone', one.secret)).code, 0)
  t.equal(await isAnywhere(one.secret), true)
  const clone = t.testdir()
  await git(['clone', '-q', '--mirror', remote('admin/two'), clone])
  t.equal((await git(['cat-file', 'blob', one.secret], { cwd: clone })).stdout.equals(bytes), true)
})

t.test('a stream that was begun before is cut, and nothing kept is answered after', async (t) => {
  const { repo, push, clean, leaked, secret } = await leak(t, 'stream', randomBytes(3_000_000))
  const { id } = (await db.query<{ id: number }>(sql`SELECT id FROM repositories WHERE name = 'stream'`))[0]!
  const port = await hub.services.repos.openFetch({ id } as never, 'user 1')
  const request = { wants: [leaked as Oid], haves: [], thinPack: false, ofsDelta: true, includeTag: false }
  const chunks = port.answer(port.view, request, { slices: hub.services.repos.slices(new AbortController().signal) })[Symbol.asyncIterator]()
  t.equal((await chunks.next()).done, false)
  await push(`${clean}:refs/heads/main`)
  t.equal((await cairn('repo', 'purge', repo, '--gone', secret)).code, 0)
  await t.rejects(
    async () => {
      for (let left = 100; left > 0; left--) if ((await chunks.next()).done) return
    },
    { code: 'cancelled' },
  )
  await t.rejects(port.view.read(0, 0, 20), { code: 'cancelled' })
  port.release()
  const again = await hub.services.repos.openFetch({ id } as never, 'user 1')
  t.equal(again.view.find(oidBytes(secret as Oid), 'read'), -1)
  again.release()
})

t.test('a large file: refused while a pointer is in use, and not to be had here afterwards', async (t) => {
  const bytes = randomBytes(10_000)
  const oid = createHash('sha256').update(bytes).digest('hex')
  const repo = 'admin/weights'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const batch = (operation: string) => hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation, objects: [{ oid, size: bytes.length }] })
  const { href } = ((await batch('upload')).body as { objects: [{ actions: { upload: { href: string } } }] }).objects[0].actions.upload
  await fetch(href, { method: 'PUT', body: new Uint8Array(bytes) })
  const work = await workTree(t.testdir())
  const clean = await work.commit({ a: '1' })
  const leaked = await work.commit({ 'w.bin': encodePointer({ oid, size: bytes.length }).toString() })
  await git(['push', '-q', remote(repo), `${leaked}:refs/heads/main`], { cwd: work.cwd })
  t.match(await cairn('repo', 'purge', repo, '--large-file', oid), { code: 1, text: /still leads to a pointer/ })
  await git(['push', '-q', '--force', remote(repo), `${clean}:refs/heads/main`], { cwd: work.cwd })
  t.match(await cairn('repo', 'purge', repo, '--large-file', oid), { code: 0, text: /1 large files unlinked$/ })
  t.match(await batch('download'), { body: { objects: [{ error: { code: 404 } }] } })
})

t.test('a large file that is being sent is cut when it is purged', async (t) => {
  const bytes = randomBytes(40_000_000)
  const oid = createHash('sha256').update(bytes).digest('hex')
  const repo = 'admin/sending'
  await hub.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const batch = async (operation: 'upload' | 'download') => {
    const { body } = await hub.api('POST', `/${repo}.git/info/lfs/objects/batch`, { operation, objects: [{ oid, size: bytes.length }] })
    return (body as { objects: [{ actions: Record<string, { href: string }> }] }).objects[0].actions[operation]!.href
  }
  await fetch(await batch('upload'), { method: 'PUT', body: new Uint8Array(bytes) })
  const { body } = await fetch(await batch('download'))
  const reader = body!.getReader()
  let got = (await reader.read()).value!.length
  t.match(await cairn('repo', 'purge', repo, '--large-file', oid), { code: 0, text: /1 large files unlinked$/ })
  await t.rejects(async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) got += part.value.length
  }, /terminated|reset/)
  t.ok(got < 20_000_000, `${got} bytes came`)
})

t.test('who may, and what is not understood', async (t) => {
  await hub.api('POST', '/api/cairn/users', { name: 'bob' })
  const made = (await hub.api('POST', '/api/cairn/users/bob/tokens', {})).body as { token: string }
  const bob = callApi(hub.url, () => made.token)
  await hub.api('POST', '/api/cairn/repos', { id: 'bob/own' })
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/hidden', private: true })
  const status = async (call: typeof bob, repo: string, body: object = {}) => (await call('POST', `/api/cairn/models/${repo}/purge`, body)).status
  t.equal(await status(bob, 'bob/own'), 200)
  t.equal(await status(bob, 'admin/one'), 403)
  t.equal(await status(bob, 'admin/hidden'), 404)
  t.equal(await status(bob, 'admin/none'), 404)
  t.equal(await status(hub.api, 'bob/own', { oids: ['main'] }), 400)
  t.equal((await fetch(`${hub.url}/api/cairn/models/admin/one/purge`, { method: 'POST' })).status, 401)
})
