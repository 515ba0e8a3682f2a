import { readdirSync, readlinkSync } from 'node:fs'
import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { PackFiles, type HeldBytes, type PackFilesOptions } from '../../../src/packs/pack-file.js'

const kib = 1024
const windowBytes = 256 * kib
const pattern = (bytes: number): Buffer => Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => Math.imul(i, 2654435761) >>> 13))
const content = pattern(5 * windowBytes + 1000)

/** Bytes from elsewhere, with a note of every range that was fetched. */
function remote(options: PackFilesOptions = {}): { pack: HeldBytes; fetched: [number, number][]; files: PackFiles; closed: () => number } {
  const files = new PackFiles(options)
  const fetched: [number, number][] = []
  let closed = 0
  const pack = files.open({
    name: 'pack x',
    bytes: content.length,
    from: async (from, to) => {
      fetched.push([from, to])
      return content.subarray(from, to)
    },
    onClosed: () => closed++,
  })
  return { pack, fetched, files, closed: () => closed }
}

const openFiles = (directory: string): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(directory) ? [target.slice(directory.length + 1)] : []
    } catch {
      return []
    }
  })

/** Closing is not waited for. */
async function settled(what: () => number, expected: number): Promise<number> {
  for (let i = 0; i < 100 && what() !== expected; i++) await sleep(10)
  return what()
}

t.test('memory of the caller is filled, from a file and from elsewhere; what is not there is refused', async (t) => {
  const path = join(t.testdir(), 'x.pack')
  await writeFile(path, content)
  const onDisk = new PackFiles().open({ name: 'pack x', bytes: content.length, from: path })
  for (const pack of [onDisk, remote().pack]) {
    const into = new Uint8Array(300 * kib)
    await pack.readInto(100, into)
    t.ok(content.subarray(100, 100 + 300 * kib).equals(into))
    const message = `bytes ${content.length - 10} to ${content.length + 1} lie outside pack x of ${content.length} bytes`
    await t.rejects(pack.readInto(content.length - 10, new Uint8Array(11)), { code: 'corrupt', message })
  }
  await truncate(path, 1000)
  await t.rejects(onDisk.readInto(990, new Uint8Array(11)), { code: 'corrupt', message: 'pack x does not read back' })
  onDisk.drop()
})

t.test('every range of a file is read as it is, within a window, across windows and past them', async (t) => {
  const path = join(t.testdir(), 'x.pack')
  await writeFile(path, content)
  const files = new PackFiles({ cacheBytes: 2 * windowBytes })
  const pack = files.open({ name: 'pack x', bytes: content.length, from: path })
  const ranges: [number, number][] = [
    [0, 0],
    [0, 1],
    [content.length, content.length],
    [content.length - 1, content.length],
    [windowBytes - 1, windowBytes + 1],
    [windowBytes, windowBytes],
    [10, 3 * windowBytes + 10],
    [1, 1 + 4 * windowBytes],
    [0, content.length],
    [5 * windowBytes, content.length],
  ]
  for (let i = 0; i < 100; i++) {
    const from = (i * 7_919_777) % content.length
    ranges.push([from, Math.min(content.length, from + ((i * 104_729) % 600_000))])
  }
  for (const [from, to] of ranges) {
    const bytes = await pack.read(from, to)
    if (!content.subarray(from, to).equals(bytes)) t.fail(`${from} to ${to}`)
  }
  const kept = await pack.read(0, 100)
  await Promise.all(ranges.map(([from, to]) => pack.read(from, to)))
  t.ok(content.subarray(0, 100).equals(kept), 'what is held stays, whatever is read after it')
  pack.drop()
})

t.test('what lies outside is corrupt', async (t) => {
  const { pack, fetched } = remote()
  for (const [from, to] of [
    [-1, 5],
    [5, 4],
    [0, content.length + 1],
    [content.length + 1, content.length + 1],
    [Number.NaN, 1],
    [0, Number.NaN],
  ] as const) {
    await t.rejects(pack.read(from, to), {
      name: 'ProtocolError',
      code: 'corrupt',
      message: `bytes ${from} to ${to} lie outside pack x of ${content.length} bytes`,
    })
  }
  t.same(fetched, [])
})

t.test('a window is fetched once for all who read in it, and the next one ahead of who goes on', async (t) => {
  const { pack, fetched } = remote()
  await Promise.all([pack.read(10, 20), pack.read(20, 30), pack.read(0, windowBytes)])
  t.same(fetched, [[0, windowBytes]])
  await pack.read(windowBytes, windowBytes + 1)
  t.same(fetched.slice(1), [
    [windowBytes, 2 * windowBytes],
    [2 * windowBytes, 3 * windowBytes],
  ])
  await pack.read(5 * windowBytes, 5 * windowBytes + 1)
  t.same(fetched.slice(3), [[5 * windowBytes, content.length]], 'who jumps gets nothing ahead')
})

t.test('long reads go past the windows', async (t) => {
  const { pack, fetched } = remote()
  await pack.read(100, 100 + 4 * windowBytes)
  await pack.read(100, 100 + 4 * windowBytes)
  t.same(fetched, [
    [100, 100 + 4 * windowBytes],
    [100, 100 + 4 * windowBytes],
  ])
})

t.test('windows of all files together stay within their bound, the oldest leave first', async (t) => {
  const { pack, fetched } = remote({ cacheBytes: 2 * windowBytes })
  const touch = (window: number) => pack.read(window * windowBytes, window * windowBytes + 1)
  for (const window of [4, 2, 0]) await touch(window)
  fetched.length = 0
  await touch(2)
  await touch(0)
  t.same(fetched, [], 'the two read last are there')
  await touch(4)
  await touch(0)
  t.equal(fetched.length, 1)
  await touch(2)
  t.equal(fetched.length, 2, 'window 2 had to leave')
})

t.test('a file that vanishes or ends early is corrupt, and what comes back is read again', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'x.pack')
  const files = new PackFiles()
  const open = () => files.open({ name: 'pack x', bytes: content.length, from: path })
  const gone = { name: 'ProtocolError', code: 'corrupt', message: 'pack x does not read back' } as const
  const pack = open()
  await t.rejects(pack.read(0, 10), gone)
  await t.rejects(pack.read(0, content.length), gone)
  await writeFile(path, content)
  t.ok(content.subarray(0, 10).equals(await pack.read(0, 10)), 'a failure is not remembered')
  await truncate(path, windowBytes + 10)
  await t.rejects(pack.read(windowBytes + 5, windowBytes + 15), gone)
  t.ok(content.subarray(0, 10).equals(await pack.read(0, 10)))
  pack.drop()
  const second = open()
  await rm(path)
  const error = await second.read(0, 10).catch((error: unknown) => error)
  t.ok(error instanceof ProtocolError && error.cause instanceof Error, 'the cause is kept')
  second.drop()
  t.equal(await settled(() => openFiles(directory).length, 0), 0)
})

t.test('a window ahead that fails harms nobody who does not read it', async (t) => {
  const path = join(t.testdir(), 'x.pack')
  await writeFile(path, content.subarray(0, 2 * windowBytes))
  const files = new PackFiles()
  const pack = files.open({ name: 'pack x', bytes: content.length, from: path })
  await pack.read(0, 10)
  await pack.read(windowBytes, windowBytes + 10)
  await sleep(20)
  t.ok(content.subarray(windowBytes, 2 * windowBytes).equals(await pack.read(windowBytes, 2 * windowBytes)))
  await t.rejects(pack.read(2 * windowBytes, 2 * windowBytes + 1), { code: 'corrupt' })
  pack.drop()
})

t.test('only so many files are open, however many are held', async (t) => {
  const directory = t.testdir()
  const files = new PackFiles({ maxOpen: 3, cacheBytes: 0 })
  const packs = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const path = join(directory, String(i))
      await writeFile(path, Buffer.alloc(100, i))
      return files.open({ name: `pack ${i}`, bytes: 100, from: path })
    }),
  )
  t.same(openFiles(directory), [], 'nothing is opened before it is read')
  for (let round = 0; round < 2; round++) {
    for (const [i, pack] of packs.entries()) t.same(await pack.read(5, 7), Buffer.from([i, i]))
  }
  t.equal(await settled(() => openFiles(directory).length, 3), 3)
  await Promise.all(packs.map((pack) => pack.read(0, 1)))
  await packs[0]!.read(0, 1)
  t.ok((await settled(() => openFiles(directory).length, 3)) <= 3, 'also after ten at once')
  for (const pack of packs) pack.drop()
  t.equal(await settled(() => openFiles(directory).length, 0), 0)
})

t.test('the last holder closes, once', async (t) => {
  const { pack, closed } = remote()
  pack.hold()
  pack.drop()
  t.equal(closed(), 0)
  await pack.read(0, 10)
  pack.drop()
  t.equal(closed(), 1)
})

t.test('a file dropped while it is read is closed when the read is done', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'x.pack')
  await writeFile(path, content)
  const files = new PackFiles()
  const pack = files.open({ name: 'pack x', bytes: content.length, from: path })
  const reading = pack.read(0, content.length)
  pack.drop()
  t.ok(content.equals(await reading))
  t.equal(await settled(() => openFiles(directory).length, 0), 0)
})

t.test('a file dropped between the windows of one read is closed when the read is done', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'x.pack')
  await writeFile(path, content)
  const pack = new PackFiles().open({ name: 'pack x', bytes: content.length, from: path })
  await pack.read(0, 1)
  const reading = pack.read(10, 3 * windowBytes)
  pack.drop()
  t.ok(content.subarray(10, 3 * windowBytes).equals(await reading))
  t.equal(await settled(() => openFiles(directory).length, 0), 0)
})

t.test('a file that grows is read without windows', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'growing')
  await writeFile(path, 'one')
  const file = new PackFiles().openGrowing(path)
  t.equal(Buffer.from(await file.read(0, 3)).toString(), 'one')
  await writeFile(path, 'two', { flag: 'a' })
  t.equal(Buffer.from(await file.read(2, 6)).toString(), 'etwo')
  await t.rejects(file.read(0, 7), /ends at 6/)
  file.close()
  file.close()
  t.equal(await settled(() => openFiles(directory).length, 0), 0)
})

t.test('a file is read from its first byte to its last, past the windows', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'x.pack')
  for (const bytes of [0, 1, 2 * windowBytes, 2 * windowBytes + 1, content.length]) {
    await writeFile(path, content.subarray(0, bytes))
    const pack = new PackFiles().open({ name: 'pack x', bytes, from: path })
    const chunks: Buffer[] = []
    for await (const chunk of pack.stream()!) chunks.push(Buffer.from(chunk))
    t.ok(Buffer.concat(chunks).equals(content.subarray(0, bytes)), `${bytes} bytes`)
    const early = pack.stream()!
    await early.next()
    await early.return(undefined)
    pack.drop()
    t.equal(await settled(() => openFiles(directory).length, 0), 0)
  }
  const cut = new PackFiles().open({ name: 'pack x', bytes: content.length + 1, from: path })
  await t.rejects(Array.fromAsync(cut.stream()!), { code: 'corrupt', message: /pack x does not read back/ })
  cut.drop()
  t.equal(remote().pack.stream(), undefined)
})
