import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { mkdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PackName } from '../../../src/packs/local-packs.js'
import { PackCache, type PackCacheOptions } from '../../../src/packs/pack-cache.js'
import { createFilesystemBlobStore } from '../../../src/storage/filesystem-blob-store.js'
import { packKey } from '../../../src/storage/keys.js'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { becomes } from '../../support/becomes.js'
import { mountSmallDisk, smallDiskMissing } from '../../support/small-disk.js'
import { watchStore, type WatchedStore } from '../../support/watched-store.js'

interface TestPack extends PackName {
  readonly content: Buffer
}

const never = new AbortController().signal
const sha256 = (content: Uint8Array): Buffer => createHash('sha256').update(content).digest()

async function put({ store }: WatchedStore, bytes: number): Promise<TestPack> {
  const content = randomBytes(bytes)
  const pack = { sha256: sha256(content), bytes, content }
  await store.put(packKey(pack.sha256), one(content))
  return pack
}

async function* one(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

/** Every byte of every file below a folder. */
function bytesIn(folder: string): number {
  let bytes = 0
  for (const name of readdirSync(folder, { recursive: true }) as string[]) {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false })
    if (stats?.isFile()) bytes += stats.size
  }
  return bytes
}

interface Opened {
  readonly cache: PackCache
  readonly watched: WatchedStore
  readonly directory: string
  readonly reopen: (options?: Partial<PackCacheOptions>) => Promise<PackCache>
}

async function openCache(
  t: { testdir(): string },
  options: Partial<PackCacheOptions> = {},
  watched = watchStore(createMemoryBlobStore()),
): Promise<Opened> {
  const directory = options.directory ?? join(t.testdir(), 'cache')
  const reopen = (more = {}) => PackCache.open({ directory, store: watched.store, maxBytes: 1_000_000, maxWaitMs: 5_000, ...options, ...more })
  return { cache: await reopen(), watched, directory, reopen }
}

async function isThere(cache: PackCache, pack: TestPack): Promise<boolean> {
  return readFile(cache.pathOf(pack.sha256)).then(
    (found) => found.equals(pack.content),
    () => false,
  )
}
const thereOf = (cache: PackCache, packs: readonly TestPack[]) => Promise.all(packs.map((pack) => isThere(cache, pack)))

async function visit(cache: PackCache, ...packs: readonly TestPack[]): Promise<void> {
  const lease = await cache.lease(packs)
  for (const pack of packs) if (!(await isThere(cache, pack))) throw new Error('a leased pack is not there')
  lease.release()
}

async function collect(stream: AsyncIterable<Uint8Array>, into: Buffer[] = []): Promise<Buffer> {
  for await (const chunk of stream) into.push(Buffer.from(chunk))
  return Buffer.concat(into)
}

for (const [name, makeStore] of [
  ['memory', async () => createMemoryBlobStore()],
  ['a folder behind the port', async (t: { testdir(): string }) => createFilesystemBlobStore({ directory: join(t.testdir(), 'blobs') })],
] as const) {
  t.test(`over ${name}: a pack is fetched once, and is a file from then on`, async (t) => {
    const watched = watchStore(await makeStore(t))
    const { cache, directory } = await openCache(t, { directory: join(t.testdir(), 'cache') }, watched)
    const packs = [await put(watched, 1), await put(watched, 300_000), await put(watched, 262_144)]
    for (let i = 0; i < 3; i++) await visit(cache, ...packs)
    t.same([...watched.opened.values()], [1, 1, 1])
    t.equal(cache.usedBytes, 562_145)
    t.equal(bytesIn(directory), 562_145)
    t.equal((await stat(cache.pathOf(packs[0]!.sha256))).mode & 0o777, 0o600)
  })
}

t.test('the one used longest ago leaves first', async (t) => {
  const { cache, watched, directory } = await openCache(t)
  const packs = await Promise.all(Array.from({ length: 5 }, () => put(watched, 300_000)))
  const [a, b, c, d, e] = packs as [TestPack, TestPack, TestPack, TestPack, TestPack]
  for (const pack of [a, b, c, a, d]) await visit(cache, pack)
  t.same(await thereOf(cache, packs), [true, false, true, true, false])
  await visit(cache, e)
  t.same(await thereOf(cache, packs), [true, false, false, true, true])
  t.equal(bytesIn(directory), 900_000)
  t.equal(cache.usedBytes, 900_000)
})

t.test('what is leased stays; who finds no room waits for it, or is refused', async (t) => {
  const { cache, watched } = await openCache(t, { maxWaitMs: 200 })
  const packs = await Promise.all(Array.from({ length: 3 }, () => put(watched, 400_000)))
  const [a, b, c] = packs as [TestPack, TestPack, TestPack]
  const held = await cache.lease([a, b])
  await t.rejects(cache.lease([c]), { name: 'HubError', code: 'storage-full', message: /no room for 400000 bytes now.*CAIRN_CACHE_BYTES/ })
  t.same(await thereOf(cache, packs), [true, true, false])
  const waiting = cache.lease([c])
  await sleep(50)
  held.release()
  held.release()
  const lease = await waiting
  t.same(await thereOf(cache, packs), [false, true, true], 'released twice is released once')
  lease.release()
  await t.rejects(cache.lease([a, b, c]), { code: 'storage-full', message: /packs of 1200000 bytes .* over the 1000000/ })
  t.same(await thereOf(cache, packs), [false, true, true], 'nobody had to leave for what can never be')
})

t.test('room is given in order of arrival, but what is here is no room', async (t) => {
  const { cache, watched } = await openCache(t)
  const [large, small, here] = [await put(watched, 900_000), await put(watched, 100_000), await put(watched, 500_000)]
  const held = await cache.lease([here])
  const order: string[] = []
  const gone = new AbortController()
  const waiting = cache.lease([large], gone.signal).catch((error: { code: string }) => order.push(error.code))
  const second = cache.lease([small]).then(() => order.push('small'))
  ;(await cache.lease([here])).release()
  await sleep(30)
  t.same(order, [], 'there is room for the small one, but the large one was first')
  gone.abort()
  await Promise.all([waiting, second])
  t.same(order.toSorted(), ['cancelled', 'small'])
  held.release()
})

t.test('a hundred first readers make one fetch', async (t) => {
  const { cache, watched } = await openCache(t)
  const pack = await put(watched, 700_000)
  watched.pace = () => sleep(5)
  const leases = await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? cache.lease([pack]) : collect(cache.stream(pack)))))
  t.equal(watched.opened.get(packKey(pack.sha256)), 1)
  for (const lease of leases) {
    if (Buffer.isBuffer(lease)) t.ok(lease.equals(pack.content))
    else lease.release()
  }
  t.ok(await isThere(cache, pack))
})

t.test('a fetch outlives its first client, and ends with its last', async (t) => {
  const { cache, watched, directory } = await openCache(t)
  const pack = await put(watched, 700_000)
  const paused = Promise.withResolvers<void>()
  watched.pace = () => paused.promise
  const [first, second] = [new AbortController(), new AbortController()]
  const leaving = cache.lease([pack], first.signal)
  const staying = cache.lease([pack], second.signal)
  await sleep(20)
  first.abort()
  await t.rejects(leaving, { code: 'cancelled' })
  t.equal(watched.leftEarly, 0)
  t.equal(cache.usedBytes, 700_000)
  second.abort()
  await t.rejects(staying, { code: 'cancelled' })
  t.ok(await becomes(() => cache.usedBytes === 0))
  t.equal(bytesIn(directory), 0)
  // One that comes while the old fetch is ending begins anew.
  const third = new AbortController()
  const again = cache.lease([pack], third.signal)
  await sleep(20)
  third.abort()
  await t.rejects(again, { code: 'cancelled' })
  const fourth = cache.lease([pack])
  paused.resolve()
  ;(await fourth).release()
  t.ok(await isThere(cache, pack))
  t.equal(watched.opened.get(packKey(pack.sha256)), 3)
  await t.rejects(cache.lease([pack], AbortSignal.abort()), { code: 'cancelled' })
})

t.test('a client that leaves has none of its other packs fetched', async (t) => {
  const { cache, watched } = await openCache(t)
  const packs = await Promise.all(Array.from({ length: 12 }, () => put(watched, 10_000)))
  const gone = new AbortController()
  watched.pace = async () => {
    await sleep(10)
    gone.abort()
  }
  await t.rejects(cache.lease(packs, gone.signal), { code: 'cancelled' })
  t.ok(await becomes(() => cache.usedBytes === 0))
  await sleep(50)
  t.equal(watched.opened.size, 4, 'only those that had begun')
  t.same(
    await thereOf(cache, packs),
    Array.from({ length: 12 }, () => false),
  )
})

const spoilings: readonly (readonly [string, WatchedStore['spoil'], RegExp])[] = [
  ['one other byte', (chunk, at) => (at === 0 ? Buffer.concat([Buffer.from([chunk[0]! ^ 1]), chunk.subarray(1)]) : chunk), /other bytes/],
  ['one byte less', (chunk, at) => (at === 0 ? chunk.subarray(1) : chunk), /ends at byte 299999 of 300000/],
  ['one byte more', (chunk, at) => (at === 0 ? Buffer.concat([chunk, chunk.subarray(0, 1)]) : chunk), /more than its 300000 bytes/],
]
for (const [name, spoil, message] of spoilings) {
  t.test(`a pack with ${name} is corrupt, and nothing of it is kept`, async (t) => {
    const { cache, watched, directory } = await openCache(t)
    const pack = await put(watched, 300_000)
    watched.spoil = spoil
    const got: Buffer[] = []
    await t.rejects(cache.lease([pack]), { name: 'HubError', code: 'corrupt', message })
    await t.rejects(collect(cache.stream(pack), got), { name: 'HubError', code: 'corrupt', message })
    t.ok(Buffer.concat(got).length < 300_000, 'nobody gets all of it')
    t.ok(await becomes(() => cache.usedBytes === 0))
    t.equal(bytesIn(directory), 0)
    watched.spoil = (chunk) => chunk
    await visit(cache, pack)
  })
}

t.test('what the store does not have is corrupt; what breaks on the way is told as it is', async (t) => {
  const { cache, watched, directory } = await openCache(t)
  const pack = { sha256: Buffer.alloc(32, 1), bytes: 100 }
  await t.rejects(cache.lease([pack]), { code: 'corrupt', message: /is not in the store/ })
  await t.rejects(collect(cache.stream(pack)), { code: 'corrupt', message: /is not in the store/ })
  const other = await put(watched, 300_000)
  watched.spoil = (chunk, at) => {
    if (at > 0) throw new Error('the connection broke')
    return chunk
  }
  await Promise.all(Array.from({ length: 3 }, () => t.rejects(cache.lease([other]), { message: 'the connection broke' })))
  t.ok(await becomes(() => cache.usedBytes === 0))
  t.equal(bytesIn(directory), 0)
})

t.test('a stream gives what has come while more comes, and all of it only when it is right', async (t) => {
  const { cache, watched } = await openCache(t, { maxBytes: 10_000_000 })
  const pack = await put(watched, 5_000_000)
  const rest = Promise.withResolvers<void>()
  watched.pace = (_key, at) => (at > 3_000_000 ? rest.promise : undefined)
  const stream = cache.stream(pack)[Symbol.asyncIterator]()
  const got: Buffer[] = []
  let bytes = 0
  while (bytes < 2_000_000) {
    const { value } = (await stream.next()) as IteratorYieldResult<Uint8Array>
    got.push(Buffer.from(value))
    bytes += value.length
  }
  t.notOk(await isThere(cache, pack))
  rest.resolve()
  for (let next = await stream.next(); !next.done; next = await stream.next()) got.push(Buffer.from(next.value))
  t.ok(Buffer.concat(got).equals(pack.content))
  t.ok(await isThere(cache, pack))
  t.ok((await collect(cache.stream(pack))).equals(pack.content))
  t.equal(watched.opened.size, 1)
})

t.test('a reader that is slow holds up neither the fetch nor others', async (t) => {
  const { cache, watched } = await openCache(t, { maxBytes: 10_000_000 })
  const pack = await put(watched, 5_000_000)
  const slow = cache.stream(pack)[Symbol.asyncIterator]()
  const first = Buffer.from(((await slow.next()) as IteratorYieldResult<Uint8Array>).value)
  t.ok((await collect(cache.stream(pack))).equals(pack.content))
  const rest: Buffer[] = [first]
  for (let next = await slow.next(); !next.done; next = await slow.next()) rest.push(Buffer.from(next.value))
  t.ok(Buffer.concat(rest).equals(pack.content))
})

t.test('who leaves a stream alone ends its fetch', async (t) => {
  const { cache, watched, directory } = await openCache(t, { maxBytes: 10_000_000 })
  const pack = await put(watched, 5_000_000)
  watched.pace = (_key, at) => (at > 2_000_000 ? new Promise(() => undefined) : undefined)
  for await (const chunk of cache.stream(pack)) if (chunk.length > 0) break
  t.ok(await becomes(() => cache.usedBytes === 0))
  t.equal(bytesIn(directory), 0)
  const gone = new AbortController()
  const reading = collect(cache.stream(pack, gone.signal))
  await sleep(30)
  gone.abort()
  await t.rejects(reading, { code: 'cancelled' })
  t.ok(await becomes(() => cache.usedBytes === 0))
})

t.test('a stream that has no room goes by, checked as well', async (t) => {
  const { cache, watched, directory } = await openCache(t)
  const [large, held, other] = [await put(watched, 1_500_000), await put(watched, 700_000), await put(watched, 400_000)]
  t.ok((await collect(cache.stream(large))).equals(large.content))
  t.equal(bytesIn(directory), 0)
  const lease = await cache.lease([held])
  t.ok((await collect(cache.stream(other))).equals(other.content))
  t.equal(bytesIn(directory), 700_000)
  watched.spoil = (chunk, at) => (at === 0 ? Buffer.concat([Buffer.from([chunk[0]! ^ 1]), chunk.subarray(1)]) : chunk)
  const got: Buffer[] = []
  await t.rejects(collect(cache.stream(large), got), { code: 'corrupt' })
  t.ok(Buffer.concat(got).length < 1_500_000)
  lease.release()
  watched.spoil = (chunk) => chunk
  const [first, second] = [await cache.lease([held]), await put(watched, 800_000)]
  const waiting = cache.lease([second])
  const small = await put(watched, 1_000)
  t.ok((await collect(cache.stream(small))).equals(small.content), 'it does not wait behind others either')
  t.notOk(await isThere(cache, small))
  first.release()
  ;(await waiting).release()
  const gone = new AbortController()
  watched.pace = () => gone.abort()
  await t.rejects(collect(cache.stream(large, gone.signal)), { code: 'cancelled' })
})

t.test('the next run takes the files over, and trusts none of them', async (t) => {
  const { cache, watched, directory, reopen } = await openCache(t)
  const packs = await Promise.all([100_000, 100_001, 100_002, 100_003].map((bytes) => put(watched, bytes)))
  const [good, changed, cut, deleted] = packs as [TestPack, TestPack, TestPack, TestPack]
  await visit(cache, ...packs)
  await mkdir(join(directory, 'tmp'), { recursive: true })
  await writeFile(join(directory, 'tmp', 'half'), Buffer.alloc(1000))
  await writeFile(cache.pathOf(changed.sha256), Buffer.alloc(changed.bytes))
  await truncate(cache.pathOf(cut.sha256), 5)
  await rm(cache.pathOf(deleted.sha256))
  const next = await reopen()
  t.equal(next.usedBytes, 100_000 + 100_001 + 5)
  t.equal(bytesIn(directory), 100_000 + 100_001 + 5, 'what had no name yet is gone')
  for (const pack of packs) await Promise.all([visit(next, pack), visit(next, pack)])
  t.same(
    packs.map(({ sha256 }) => watched.opened.get(packKey(sha256))),
    [1, 2, 2, 2],
    'only what was whole is not fetched again',
  )
  t.equal(next.usedBytes, 400_006)
  t.ok(await isThere(next, good))
})

t.test('the next run keeps the newest, within its bound', async (t) => {
  const { cache, watched, directory, reopen } = await openCache(t)
  const packs = await Promise.all(Array.from({ length: 3 }, () => put(watched, 300_000)))
  await visit(cache, ...packs)
  for (const [i, { sha256 }] of packs.entries()) await utimes(cache.pathOf(sha256), 1000 + i, 1000 + i)
  const next = await reopen({ maxBytes: 700_000 })
  t.equal(bytesIn(directory), 600_000)
  t.same(await thereOf(next, packs), [false, true, true])
  const fresh = await put(watched, 300_000)
  await visit(next, fresh)
  t.same(await thereOf(next, packs), [false, false, true], 'the older one leaves first')
})

t.test('a file that somebody changed or removed while we run is fetched again', async (t) => {
  const { cache, watched } = await openCache(t)
  const pack = await put(watched, 300_000)
  const key = packKey(pack.sha256)
  const path = cache.pathOf(pack.sha256)
  await visit(cache, pack)
  await writeFile(path, Buffer.alloc(300_000))
  await visit(cache, pack)
  t.equal(watched.opened.get(key), 2)
  await truncate(path, 10)
  await visit(cache, pack)
  await rm(path)
  await visit(cache, pack)
  t.equal(watched.opened.get(key), 4)
  await utimes(path, 1, 1)
  await visit(cache, pack)
  t.equal(watched.opened.get(key), 4, 'one that was only touched is hashed, and stays')
})

t.test('what is pushed here is kept here', async (t) => {
  const { cache, watched, directory } = await openCache(t)
  const files = cache.keeping(watched.store)
  const path = join(directory, '..', 'spooled')
  const pushed = async (bytes: number) => {
    const content = randomBytes(bytes)
    await writeFile(path, content)
    const pack = { sha256: sha256(content), bytes, content }
    await files.putFile(packKey(pack.sha256), path, pack.sha256)
    await t.rejects(stat(path), { code: 'ENOENT' })
    return pack
  }
  const [a, b] = [await pushed(400_000), await pushed(500_000)]
  await visit(cache, a, b)
  t.equal(watched.opened.size, 0)
  t.equal(cache.usedBytes, 900_000)
  const c = await pushed(300_000)
  t.same(await thereOf(cache, [a, b, c]), [false, true, true], 'others leave for it as for any')
  const lease = await cache.lease([b, c])
  const d = await pushed(300_000)
  t.notOk(await isThere(cache, d), 'but not those in use')
  lease.release()
  await visit(cache, d)
  t.equal(watched.opened.size, 1)
  t.equal(bytesIn(directory), cache.usedBytes)
})

t.test('what the store did not take is not kept', async (t) => {
  const { cache, directory } = await openCache(t)
  const path = join(directory, '..', 'spooled')
  await writeFile(path, 'content')
  const files = cache.keeping({ putFile: () => Promise.reject(new Error('the store is away')) })
  await t.rejects(files.putFile(packKey(sha256(Buffer.from('content'))), path, sha256(Buffer.from('content'))), { message: 'the store is away' })
  t.equal(await readFile(path, 'utf8'), 'content', 'and stays the caller’s')
  t.equal(bytesIn(directory), 0)
})

t.test('a full disk is said, leaves nothing behind, and is no end', { skip: smallDiskMissing() }, async (t) => {
  const directory = mountSmallDisk(t, '4m')
  const { cache, watched } = await openCache(t, { directory, maxBytes: 100_000_000 })
  const [large, small] = [await put(watched, 6_000_000), await put(watched, 2_000_000)]
  await t.rejects(cache.lease([large]), { name: 'HubError', code: 'storage-full', message: 'the cache of packs has no room left on its disk' })
  await t.rejects(collect(cache.stream(large)), { name: 'HubError', code: 'storage-full' })
  t.ok(await becomes(() => cache.usedBytes === 0))
  t.equal(bytesIn(directory), 0)
  await visit(cache, small)
})

t.test('whatever comes and goes, the bound holds and the books are right', async (t) => {
  const { cache, watched, directory } = await openCache(t, { maxWaitMs: 60_000 })
  const packs = await Promise.all(Array.from({ length: 30 }, (_, i) => put(watched, 20_000 + i * 11_000)))
  watched.pace = () => (Math.random() < 0.3 ? sleep(Math.random() * 4) : undefined)
  let most = 0
  const watching = setInterval(() => (most = Math.max(most, bytesIn(directory))), 1)
  t.teardown(() => clearInterval(watching))
  const outcomes = { read: 0, cancelled: 0, streamed: 0 }
  const client = async () => {
    for (let i = 0; i < 40; i++) {
      const wanted = Array.from({ length: 1 + Math.floor(Math.random() * 2) }, () => packs[Math.floor(Math.random() * packs.length)]!)
      const gone = new AbortController()
      if (Math.random() < 0.3) setTimeout(() => gone.abort(), Math.random() * 6)
      try {
        if (Math.random() < 0.3) {
          const got = await collect(cache.stream(wanted[0]!, gone.signal))
          if (!got.equals(wanted[0]!.content)) throw new Error('other bytes were streamed')
          outcomes.streamed++
        } else {
          const lease = await cache.lease(wanted, gone.signal)
          await sleep(Math.random() * 3)
          const there = await thereOf(cache, wanted)
          lease.release()
          if (there.includes(false)) throw new Error('a leased pack was taken away')
          outcomes.read++
        }
      } catch (error) {
        if ((error as { code?: string }).code !== 'cancelled') throw error
        outcomes.cancelled++
      }
    }
  }
  await Promise.all(Array.from({ length: 12 }, client))
  clearInterval(watching)
  t.comment(JSON.stringify({ ...outcomes, most, fetched: [...watched.opened.values()].reduce((a, b) => a + b) }))
  t.ok(outcomes.read > 100 && outcomes.cancelled > 20 && outcomes.streamed > 50)
  t.ok(most <= 1_000_000 && most > 500_000)
  t.ok(await becomes(() => cache.usedBytes === bytesIn(directory)))
  const all = await cache.lease(packs.slice(0, 5), never)
  all.release()
})

t.test('packs that nothing needs any more go, those that are being read once they are not', async (t) => {
  const { cache, watched, directory, reopen } = await openCache(t)
  const [idle, read, needed] = [await put(watched, 1_000), await put(watched, 2_000), await put(watched, 4_000)]
  for (const pack of [idle, needed]) (await cache.lease([pack])).release()
  const reading = await cache.lease([read])
  const asked: string[] = []
  const unneeded = async (keys: readonly string[]) => {
    asked.push(...keys)
    return keys.filter((key) => key !== packKey(needed.sha256))
  }
  await cache.forgetUnneeded(unneeded)
  t.same(asked.toSorted(), [idle, read, needed].map(({ sha256 }) => packKey(sha256)).toSorted())
  t.equal(bytesIn(directory), 6_000)
  t.ok((await readFile(cache.pathOf(read.sha256))).equals(read.content))
  reading.release()
  t.ok(await becomes(() => bytesIn(directory) === 4_000))
  t.equal(cache.usedBytes, 4_000)
  ;(await cache.lease([idle])).release()
  t.equal(bytesIn(directory), 5_000, 'needed again, it is kept again')
  t.equal(cache.usedBytes, 5_000)
  await (await reopen()).forgetUnneeded(unneeded)
  t.equal(bytesIn(directory), 4_000, 'those of an earlier run as well')
})
