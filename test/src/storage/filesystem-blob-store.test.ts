import { existsSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, readlink, rm, truncate, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import t from 'tap'
import { createFilesystemBlobStore } from '../../../src/storage/filesystem-blob-store.js'
import { packKey, stagingKey } from '../../../src/storage/keys.js'
import {
  blobStoreContract,
  chunks,
  filePutContract,
  multipartContract,
  promoteContract,
  read,
  sha256,
  type OpenedStore,
} from '../../contracts/blob-store.js'
import { mountSmallDisk, smallDiskMissing } from '../../support/small-disk.js'

const root = t.testdir()

async function filesBelow(directory: string): Promise<string[]> {
  if (!existsSync(directory)) return []
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(directory, join(entry.parentPath, entry.name)))
}

async function openStore(): Promise<OpenedStore<ReturnType<typeof createFilesystemBlobStore>> & { directory: string }> {
  const directory = join(await mkdtemp(join(root, 'store-')), 'blobs')
  return { store: createFilesystemBlobStore({ directory }), contents: () => filesBelow(directory), directory }
}

blobStoreContract(t, openStore)
filePutContract(t, openStore)
promoteContract(t, openStore)
multipartContract(t, openStore)

t.test('a blob is a file at its key, for whoever opens it by path', async (t) => {
  const { store, directory } = await openStore()
  const key = packKey(sha256('content'))
  await store.put(key, chunks('content'))
  const hex = 'ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73'
  t.equal(store.pathOf(key), join(directory, 'packs', 'ed', `${hex}.pack`))
  t.equal(await readFile(store.pathOf(key), 'utf8'), 'content')
})

t.test('nobody else on the machine may look at what is stored', async (t) => {
  const { store, directory } = await openStore()
  const upload = await store.begin(stagingKey('upload-1'))
  await store.part(upload, 1, chunks('part'))
  await store.put(packKey(sha256('content')), chunks('content'))
  const entries = await readdir(directory, { recursive: true })
  t.ok(entries.length >= 6)
  for (const name of ['', ...entries]) t.equal(statSync(join(directory, name)).mode & 0o077, 0, name)
})

t.test('what dead writers left is swept, and nothing else', async (t) => {
  const { store, contents, directory } = await openStore()
  await store.sweepTemporary()
  const key = packKey(sha256('content'))
  await store.put(key, chunks('content'))
  const upload = await store.begin(stagingKey('one'))
  const part = await store.part(upload, 1, chunks('part'))
  await writeFile(join(directory, 'tmp', 'left'), 'half a bl')
  const next = createFilesystemBlobStore({ directory })
  await next.sweepTemporary()
  t.equal((await contents()).length, 2)
  t.match(await next.complete(upload, [part]), { bytes: 4 })
  t.equal((await read(next, key)).toString(), 'content')
  t.equal((await read(next, stagingKey('one'))).toString(), 'part')
})

t.test('foreign files are no blobs', async (t) => {
  const { store, directory } = await openStore()
  const key = packKey(sha256('content'))
  await store.put(key, chunks('content'))
  await writeFile(join(directory, 'packs', 'README'), 'hello')
  await mkdir(join(directory, 'lost+found'))
  await writeFile(join(directory, 'lost+found', '#12'), 'hello')
  const keys: string[] = []
  for await (const info of store.list('')) keys.push(info.key)
  t.same(keys, [key])
})

t.test('a file that is cut or removed under its reader is reported', async (t) => {
  const { store } = await openStore()
  const key = packKey(sha256('content'))
  await store.put(key, chunks(Buffer.alloc(1_000_000, 1)))
  const cut = (await store.open(key))[Symbol.asyncIterator]()
  await cut.next()
  await truncate(store.pathOf(key), 300_000)
  await t.rejects(
    async () => {
      while (!(await cut.next()).done);
    },
    { name: 'HubError', code: 'corrupt' },
  )

  const removed = (await store.open(key))[Symbol.asyncIterator]()
  await rm(store.pathOf(key))
  await t.rejects(removed.next(), { name: 'HubError', code: 'corrupt', message: `${key} is not in the store` })
})

t.test('a reader that was opened before a delete reads on', async (t) => {
  const { store } = await openStore()
  const content = Buffer.alloc(2_000_000, 7)
  const key = packKey(sha256(content))
  await store.put(key, chunks(content))
  const stream = (await store.open(key))[Symbol.asyncIterator]()
  let bytes = (await stream.next()).value!.length
  await store.delete(key)
  for (let next = await stream.next(); !next.done; next = await stream.next()) bytes += next.value.length
  t.equal(bytes, 2_000_000)
})

const noProc = existsSync('/proc/self/fd') ? false : 'open files can only be counted where /proc is'
t.test('streams close their files: at the end, when they are left, and when nobody reads them', { skip: noProc }, async (t) => {
  const { store } = await openStore()
  const content = Buffer.alloc(2_000_000, 7)
  const key = packKey(sha256(content))
  await store.put(key, chunks(content))
  const openFiles = async () => {
    const paths = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
    return paths.filter((path) => path.endsWith('.pack')).length
  }
  await store.open(key)
  await read(store, key)
  for await (const chunk of await store.open(key)) if (chunk.length > 0) break
  t.equal(await openFiles(), 0)
  const iterator = (await store.open(key))[Symbol.asyncIterator]()
  await iterator.next()
  t.equal(await openFiles(), 1)
  await iterator.return?.()
  t.equal(await openFiles(), 0)
})

t.test('a large blob passes through without being in memory', async (t) => {
  const { store } = await openStore()
  const key = packKey(sha256('large'))
  const megabyte = Buffer.alloc(1_000_000, 3)
  const source = (async function* () {
    for (let i = 0; i < 300; i++) yield megabyte
  })()
  const before = process.memoryUsage()
  t.match(await store.put(key, source), { bytes: 300_000_000 })
  let bytes = 0
  let peak = 0
  for await (const chunk of await store.open(key)) {
    bytes += chunk.length
    peak = Math.max(peak, process.memoryUsage.rss())
  }
  t.equal(bytes, 300_000_000)
  t.ok(peak - before.rss < 100_000_000, `${Math.round((peak - before.rss) / 1e6)} MB more than before`)
  await store.delete(key)
})

t.test('a folder that cannot be written to does not answer', async (t) => {
  const parent = t.testdir({ file: 'not a folder' })
  const store = createFilesystemBlobStore({ directory: join(parent, 'file') })
  await t.rejects(store.ping())
  await t.rejects(store.put(packKey(sha256('x')), chunks('x')))
})

const shm = '/dev/shm'
const noOther = existsSync(shm) && statSync(shm).dev !== statSync(root).dev ? false : 'there is no second file system here'
t.test('a file of another file system is copied, and checked against its hash', { skip: noOther }, async (t) => {
  const { store, contents } = await openStore()
  const folder = await mkdtemp(join(shm, 'cairn-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'spooled')
  const content = Buffer.alloc(600_000, 'abc')
  await writeFile(path, content)
  const key = packKey(sha256(content))
  await t.rejects(store.putFile(key, path, sha256('other')), { name: 'HubError', code: 'corrupt' })
  t.ok(existsSync(path), 'it is still the caller’s')
  t.same(await contents(), [])
  await store.putFile(key, path, sha256(content))
  t.ok((await read(store, key)).equals(content))
  t.notOk(existsSync(path))
  t.same(await contents(), [key])
})

t.test('a disk without room says so, and keeps nothing of it', { skip: smallDiskMissing() }, async (t) => {
  const disk = mountSmallDisk(t, '1m')
  const store = createFilesystemBlobStore({ directory: join(disk, 'blobs') })
  const key = packKey(sha256('large'))
  await t.rejects(store.put(key, chunks(Buffer.alloc(2_000_000))), {
    name: 'HubError',
    code: 'storage-full',
    message: 'the store has no room left',
  })
  t.same(await filesBelow(disk), [])
  t.match(await store.put(key, chunks(Buffer.alloc(500_000))), { bytes: 500_000 })
})
