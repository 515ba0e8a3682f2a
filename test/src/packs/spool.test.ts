import { createHash } from 'node:crypto'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createSlices } from '../../../src/packs/slices.js'
import { openSpool, type SpooledPack, type SpoolOptions } from '../../../src/packs/spool.js'
import { mountSmallDisk, smallDiskMissing } from '../../support/small-disk.js'

const slices = createSlices({ sliceMs: 20, signal: new AbortController().signal })
const hash = (name: string, bytes: Uint8Array): string => createHash(name).update(bytes).digest('hex')
const pattern = (bytes: number): Buffer => Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => Math.imul(i, 2654435761) >>> 13))

/** Reuses its one buffer, as a socket may. */
async function* chunked(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(size)
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = buffer.subarray(0, Math.min(size, bytes.length - at))
    chunk.set(bytes.subarray(at, at + size))
    yield chunk
    buffer.fill(0xee)
  }
}

const spoolIn = (directory: string, options: Partial<SpoolOptions> = {}) =>
  openSpool({ directory, hubId: 'hub', bootId: 'boot', maxBytes: 1_000_000, maxPackBytes: 500_000, memoryBytes: 10_000, ...options })

const all = (pack: SpooledPack): Buffer => Buffer.from(pack.read(0, pack.length))
const filesBelow = async (directory: string): Promise<string[]> =>
  (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ name }) => name)

t.test('a small pack stays in memory, a larger one moves to a file at the byte over', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  for (const [bytes, inFile] of [
    [0, false],
    [1, false],
    [9999, false],
    [10_000, false],
    [10_001, true],
    [300_000, true],
  ] as const) {
    const content = pattern(bytes)
    const pack = await spool.receive(`update-${bytes}`, chunked(content))
    t.equal(pack.length, bytes)
    t.equal(pack.path !== undefined, inFile, String(bytes))
    t.equal(pack.memory === undefined, inFile)
    t.ok(all(pack).equals(content))
    t.equal(spool.usedBytes, bytes)
    if (inFile) t.ok((await readFile(pack.path!)).equals(content))
    if (bytes >= 20) t.same(pack.checksums(), { sha1: content.subarray(-20), sha256: createHash('sha256').update(content).digest() })
    await pack.dispose()
    t.equal(spool.usedBytes, 0)
    t.equal(pack.length, 0)
  }
  t.same(await filesBelow(directory), [])
})

t.test('ranges are read as they are, forwards, backwards and anywhere', async (t) => {
  const content = pattern(400_000)
  const pack = await spoolIn(t.testdir()).receive('u', chunked(content, 70_000))
  const ranges: [number, number][] = [
    [0, 0],
    [0, 1],
    [399_999, 400_000],
    [400_000, 400_000],
    [0, 400_000],
  ]
  for (let at = 0; at < 400_000; at += 17_777) ranges.push([at, Math.min(400_000, at + 100)], [400_000 - at - 1, 400_000])
  for (const [from, to] of ranges) if (!Buffer.from(pack.read(from, to)).equals(content.subarray(from, to))) t.fail(`${from} to ${to}`)
  for (const [from, to] of [
    [-1, 5],
    [5, 4],
    [399_990, 400_001],
    [Number.NaN, 5],
    [500_000, 500_000],
  ] as const) {
    t.throws(() => pack.read(from, to), { code: 'bad-pack', message: `the pack ends at 400000, bytes ${from} to ${to} were wanted` })
  }
  await pack.dispose()
})

t.test('a pack over its limit is refused, and nothing of it is left', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  await t.rejects(spool.receive('u', chunked(pattern(500_001))), { code: 'too-large', message: 'the pack is over the limit of 500000 bytes' })
  t.equal(spool.usedBytes, 0)
  t.same(await filesBelow(directory), [])
  const pack = await spool.receive('u', chunked(pattern(500_000)))
  await pack.dispose()
})

t.test('all packs together have a limit; who leaves makes room', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  const [a, b] = [await spool.receive('a', chunked(pattern(500_000))), await spool.receive('b', chunked(pattern(450_000)))]
  await t.rejects(spool.receive('c', chunked(pattern(60_000))), {
    code: 'too-large',
    message: 'the pushes under way are over the 1000000 bytes the hub has room for, try again later',
  })
  t.equal(spool.usedBytes, 950_000)
  await a.dispose()
  const c = await spool.receive('c', chunked(pattern(60_000)))
  t.equal(spool.usedBytes, 510_000)
  t.same((await filesBelow(directory)).toSorted(), ['b', 'c'])
  await b.dispose()
  await b.dispose()
  await c.dispose()
  t.equal(spool.usedBytes, 0)
})

t.test('a client that fails half way leaves nothing behind, in memory or in a file', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  for (const bytes of [500, 50_000]) {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield* chunked(pattern(bytes))
      throw new Error('gone')
    }
    await t.rejects(spool.receive('u', failing()), { message: 'gone' })
    t.equal(spool.usedBytes, 0)
    t.same(await filesBelow(directory), [])
  }
})

for (const [where, bytes] of [
  ['in memory', 200],
  ['in a file', 20_000],
] as const) {
  t.test(`a thin pack ${where} is completed and sealed`, async (t) => {
    const spool = spoolIn(t.testdir())
    const content = pattern(bytes)
    content.set(Buffer.from('PACK\0\0\0\x02\0\0\0\x05', 'latin1'))
    const pack = await spool.receive('u', chunked(content))
    pack.read(bytes - 30, bytes) // so that a window has the old trailer in it
    const [first, second] = [Buffer.from('a base'), Buffer.alloc(100, 'second base')]
    await pack.complete(first, bytes - 20)
    t.equal(spool.usedBytes, pack.length)
    t.same(Buffer.from(pack.read(bytes - 20, bytes - 14)), first)
    await pack.complete(second, bytes - 14)
    await pack.seal(7, slices)
    const body = Buffer.concat([content.subarray(0, -20), first, second])
    body.writeUInt32BE(7, 8)
    const whole = Buffer.concat([body, createHash('sha1').update(body).digest()])
    t.equal(pack.length, whole.length)
    t.ok(all(pack).equals(whole))
    const { sha1, sha256 } = pack.checksums()
    t.equal(sha1.toString('hex'), hash('sha1', body))
    t.equal(sha256.toString('hex'), hash('sha256', whole))
    t.equal(spool.usedBytes, whole.length)
    if (pack.path) t.ok((await readFile(pack.path)).equals(whole))
    await pack.dispose()
    t.equal(spool.usedBytes, 0)
  })
}

t.test('a small pack with a large base moves to a file', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  const content = pattern(200)
  const pack = await spool.receive('u', chunked(content))
  const base = pattern(50_000)
  await pack.complete(base, 180)
  t.equal(pack.memory, undefined)
  t.same(await filesBelow(directory), ['u'])
  await pack.seal(1, slices)
  const body = Buffer.concat([content.subarray(0, 180), base])
  body.writeUInt32BE(1, 8)
  t.ok(all(pack).equals(Buffer.concat([body, createHash('sha1').update(body).digest()])))
  await pack.dispose()
  t.same(await filesBelow(directory), [])
})

t.test('bases count towards the limits', async (t) => {
  const spool = spoolIn(t.testdir())
  const pack = await spool.receive('u', chunked(pattern(499_000)))
  await t.rejects(pack.complete(pattern(2000), 498_980), { code: 'too-large' })
  t.equal(pack.length, 499_000)
  t.equal(spool.usedBytes, 499_000)
  await pack.dispose()
  t.equal(spool.usedBytes, 0)
})

t.test('a file is given away once, after that bytes are; reading goes on', async (t) => {
  const directory = t.testdir()
  const content = pattern(50_000)
  const pack = await spoolIn(directory).receive('u', chunked(content))
  const target = join(directory, 'taken')
  const copied: Buffer[] = []
  const copy = async (bytes: () => AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const chunk of bytes()) copied.push(Buffer.from(chunk))
  }
  await pack.moveTo(
    (path) => rename(path, target),
    async () => void t.fail('there is a file'),
  )
  await pack.moveTo(async () => void t.fail('it was taken'), copy)
  t.ok(Buffer.concat(copied).equals(content))
  t.ok(all(pack).equals(content))
  await pack.dispose()
  t.ok((await readFile(target)).equals(content), 'what was taken stays')
  const small = await spoolIn(directory).receive('v', chunked(content.subarray(0, 100)))
  copied.length = 0
  await small.moveTo(async () => void t.fail('there is no file'), copy)
  t.ok(Buffer.concat(copied).equals(content.subarray(0, 100)))
  await small.dispose()
})

t.test('a file that was cut off is noticed', async (t) => {
  const pack = await spoolIn(t.testdir()).receive('u', chunked(pattern(50_000)))
  await writeFile(pack.path!, 'short')
  t.throws(() => pack.read(0, 100), { code: 'corrupt', message: 'the spool file ends at 5 of 50000 bytes' })
  await pack.dispose()
})

t.test('a file with the same name is not written over', async (t) => {
  const directory = t.testdir()
  const spool = spoolIn(directory)
  const first = await spool.receive('same', chunked(pattern(20_000)))
  await t.rejects(spool.receive('same', chunked(pattern(30_000))), { code: 'EEXIST' })
  t.ok(all(first).equals(pattern(20_000)))
  t.equal(spool.usedBytes, 20_000)
  await first.dispose()
})

t.test('sweeping removes what other runs of this hub left, and nothing else', async (t) => {
  const directory = t.testdir({ hub: { old: { a: 'x', deep: { b: 'y' } }, boot: { mine: 'z' }, older: {} }, other: { old: { c: 'w' } } })
  const spool = spoolIn(directory)
  t.equal(spool.directory, join(directory, 'hub', 'boot'))
  await spool.sweep()
  t.same((await filesBelow(directory)).toSorted(), ['c', 'mine'])
  t.same(await readdir(join(directory, 'hub')), ['boot'])
  await spool.sweep()
  await spoolIn(join(directory, 'not-there')).sweep()
})

t.test('a disk without room is said to be full, and nothing is left', { skip: smallDiskMissing() }, async (t) => {
  const directory = mountSmallDisk(t, '64k')
  const spool = spoolIn(directory)
  const full = { name: 'HubError', code: 'storage-full', message: 'the hub has no room left for pushes' }
  await t.rejects(spool.receive('u', chunked(pattern(200_000))), full)
  t.equal(spool.usedBytes, 0)
  t.same(await filesBelow(directory), [])

  const fits = await spool.receive('v', chunked(pattern(40_000)))
  await t.rejects(fits.complete(pattern(100_000), 39_980), full)
  await fits.dispose()
  t.equal(spool.usedBytes, 0)

  const small = await spool.receive('w', chunked(pattern(100)))
  await t.rejects(small.complete(pattern(100_000), 80), full)
  await small.dispose()
  t.equal(spool.usedBytes, 0)
  t.same(await filesBelow(directory), [])
})
