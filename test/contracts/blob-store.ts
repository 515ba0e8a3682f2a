import { createHash, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type tap from 'tap'
import type { BlobInfo, BlobKey, BlobStore, ByteRange, FilePut, MultipartStore, Promote } from '../../src/storage/blob-store.js'
import { lfsKey, packKey, sidecarKey, stagingKey } from '../../src/storage/keys.js'

type Test = typeof tap

/** A new, empty store, made for each subtest. */
export interface OpenedStore<Store> {
  readonly store: Store
  /** Everything in it, what has no key included. */
  readonly contents: () => Promise<readonly string[]>
}
export type OpenStore<Store> = () => Promise<OpenedStore<Store>>

export const sha256 = (content: string | Uint8Array): Buffer => createHash('sha256').update(content).digest()
const keyOf = (content: string): BlobKey => packKey(sha256(content))

/** Each chunk from the same buffer, as a socket or a file would: who keeps one without copying is found out. */
export async function* chunks(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  const buffers = parts.map((part) => Buffer.from(part))
  const shared = Buffer.alloc(Math.max(0, ...buffers.map(({ length }) => length)))
  for (const buffer of buffers) {
    buffer.copy(shared)
    yield shared.subarray(0, buffer.length)
    shared.fill(0)
  }
}

export async function read(store: BlobStore, key: BlobKey, range?: ByteRange): Promise<Buffer> {
  const read: Buffer[] = []
  for await (const chunk of await store.open(key, range ? { range } : {})) read.push(Buffer.from(chunk))
  return Buffer.concat(read)
}

async function keysOf(infos: AsyncIterable<BlobInfo>): Promise<BlobKey[]> {
  const keys: BlobKey[] = []
  for await (const { key } of infos) keys.push(key)
  return keys
}

/** 10 MB that repeat nowhere near. */
function noise(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  for (let i = 0, x = 1; i < bytes; i += 4) buffer.writeUInt32LE((x = Math.imul(x ^ (x >>> 15), 2246822519) + i) >>> 0, i)
  return buffer
}

export function blobStoreContract(t: Test, openStore: OpenStore<BlobStore>): void {
  t.test('what was put is there, with its size and time', async (t) => {
    const { store } = await openStore()
    const key = keyOf('one two')
    t.equal(await store.stat(key), undefined)
    const before = Date.now()
    const info = await store.put(key, chunks('one', ' ', 'two'))
    t.match(info, { key, bytes: 7 })
    t.ok(Math.abs(info.modifiedAt.getTime() - before) < 60_000)
    t.same(await store.stat(key), info)
    t.equal((await read(store, key)).toString(), 'one two')
  })

  t.test('a blob without bytes is a blob', async (t) => {
    const { store } = await openStore()
    for (const [key, bytes] of [
      [keyOf('a'), chunks()],
      [keyOf('b'), chunks('', '')],
    ] as const) {
      t.match(await store.put(key, bytes), { bytes: 0 })
      t.equal((await read(store, key)).length, 0)
      t.equal((await read(store, key, { from: 0, to: 0 })).length, 0)
    }
  })

  t.test('10 MB come back as they went, whole and in parts', async (t) => {
    const { store } = await openStore()
    const content = noise(10_000_000)
    const key = packKey(sha256(content))
    const parts = Array.from({ length: 100 }, (_, i) => content.subarray(i * 100_000, (i + 1) * 100_000))
    t.match(await store.put(key, chunks(...parts)), { bytes: 10_000_000 })
    t.ok((await read(store, key)).equals(content))
    t.ok((await read(store, key, { from: 262_143, to: 786_433 })).equals(content.subarray(262_143, 786_433)))
  })

  t.test('a range is read from its first byte to before its last', async (t) => {
    const { store } = await openStore()
    const key = keyOf('0123456789')
    await store.put(key, chunks('0123456789'))
    for (const [from, to, expected] of [
      [0, 10, '0123456789'],
      [0, 1, '0'],
      [9, 10, '9'],
      [3, 7, '3456'],
      [0, 0, ''],
      [5, 5, ''],
      [10, 10, ''],
    ] as const) {
      t.equal((await read(store, key, { from, to })).toString(), expected, `${from} to ${to}`)
    }
    for (const [from, to, code] of [
      [0, 11, 'corrupt'],
      [11, 11, 'corrupt'],
      [-1, 3, 'invalid'],
      [4, 3, 'invalid'],
      [0.5, 3, 'invalid'],
      [0, Number.NaN, 'invalid'],
    ] as const) {
      await t.rejects(store.open(key, { range: { from, to } }), { name: 'HubError', code }, `${from} to ${to}`)
    }
  })

  t.test('two readers of one blob do not disturb each other, and one may leave', async (t) => {
    const { store } = await openStore()
    const content = noise(1_000_000)
    const key = packKey(sha256(content))
    await store.put(key, chunks(content))
    const stream = await store.open(key)
    const [one, other] = [stream[Symbol.asyncIterator](), stream[Symbol.asyncIterator]()]
    const first = Buffer.from((await one.next()).value as Uint8Array)
    t.ok(first.equals(content.subarray(0, first.length)))
    const third = await store.open(key)
    for await (const chunk of third) {
      t.ok(chunk.length > 0)
      break
    }
    const hash = createHash('sha256')
    for (let next = await other.next(); !next.done; next = await other.next()) {
      hash.update(next.value)
      await one.next()
    }
    t.ok(hash.digest().equals(sha256(content)))
    await one.return?.()
  })

  t.test('reading what is not there says that bytes are missing', async (t) => {
    const { store } = await openStore()
    const key = keyOf('never put')
    await t.rejects(store.open(key), { name: 'HubError', code: 'corrupt', message: `${key} is not in the store` })
  })

  t.test('put takes the place of what was there; with ifAbsent what was there stays', async (t) => {
    const { store } = await openStore()
    const key = keyOf('a key')
    t.match(await store.put(key, chunks('first'), { ifAbsent: true }), { bytes: 5 })
    const info = await store.put(key, chunks('the second'), { ifAbsent: true })
    t.same(info, await store.stat(key))
    t.equal(info.bytes, 5, 'it says what is there')
    t.equal((await read(store, key)).toString(), 'first')
    t.match(await store.put(key, chunks('the third')), { bytes: 9 })
    t.equal((await read(store, key)).toString(), 'the third')
  })

  t.test('of several puts of one key at once one wins, whole, and all succeed', async (t) => {
    const { store, contents } = await openStore()
    for (const options of [{}, { ifAbsent: true }]) {
      const key = keyOf(JSON.stringify(options))
      const letters = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
      const infos = await Promise.all(
        letters.map((letter) => store.put(key, chunks(...Array.from({ length: 20 }, () => letter.repeat(10_000))), options)),
      )
      for (const info of infos) t.equal(info.bytes, 200_000)
      t.match((await read(store, key)).toString(), /^(.)\1{199999}$/)
    }
    t.equal((await contents()).length, 2, 'and nothing else is left')
  })

  t.test('a source that throws leaves nothing behind, and what was there stays', async (t) => {
    const { store, contents } = await openStore()
    const [fresh, taken] = [keyOf('fresh'), keyOf('taken')]
    await store.put(taken, chunks('old'))
    const before = await contents()
    for (const key of [fresh, taken]) {
      const source = (async function* () {
        yield Buffer.alloc(300_000)
        throw new Error('the client left')
      })()
      await t.rejects(store.put(key, source), { message: 'the client left' })
    }
    t.same(await contents(), before)
    t.equal(await store.stat(fresh), undefined)
    t.equal((await read(store, taken)).toString(), 'old')
  })

  t.test('a put that is aborted leaves nothing behind, even when its source is stuck, and the source is told', async (t) => {
    const { store, contents } = await openStore()
    const key = keyOf('aborted')
    const reason = new Error('gone')
    await t.rejects(store.put(key, chunks('x'), { signal: AbortSignal.abort(reason) }), reason)

    const stuck = new AbortController()
    const source = {
      returned: false,
      count: 0,
      [Symbol.asyncIterator]() {
        return this
      },
      next(): Promise<IteratorResult<Uint8Array>> {
        if (this.count++ < 2) return Promise.resolve({ done: false, value: Buffer.alloc(100_000) })
        setTimeout(() => stuck.abort(reason), 10)
        return new Promise(() => undefined)
      },
      return(): Promise<IteratorResult<Uint8Array>> {
        this.returned = true
        return Promise.resolve({ done: true, value: undefined })
      },
    }
    await t.rejects(store.put(key, source, { signal: stuck.signal }), reason)
    t.equal(source.returned, true)

    const late = new AbortController()
    const atTheEnd = (async function* () {
      yield Buffer.alloc(10)
      late.abort(reason)
    })()
    await t.rejects(store.put(key, atTheEnd, { signal: late.signal }), reason)
    t.equal(await store.stat(key), undefined)
    t.same(await contents(), [])
  })

  t.test('a reader that is aborted gets the reason', async (t) => {
    const { store } = await openStore()
    const content = noise(1_000_000)
    const key = packKey(sha256(content))
    await store.put(key, chunks(content))
    const left = new AbortController()
    const iterator = (await store.open(key, { signal: left.signal }))[Symbol.asyncIterator]()
    t.equal((await iterator.next()).done, false)
    const reason = new Error('gone')
    left.abort(reason)
    await t.rejects(iterator.next(), reason)
  })

  t.test('deleted is gone; deleting what is not there is a success', async (t) => {
    const { store, contents } = await openStore()
    const key = keyOf('short-lived')
    await store.delete(key)
    await store.put(key, chunks('short-lived'))
    await store.delete(key)
    await store.delete(key)
    t.equal(await store.stat(key), undefined)
    t.same(await contents(), [])
    await store.put(key, chunks('again'))
    t.equal((await read(store, key)).toString(), 'again')
  })

  t.test('lists by the beginning of keys, in order, with sizes', async (t) => {
    const { store } = await openStore()
    const hash = (start: string) => Buffer.from(start.padEnd(64, '0'), 'hex')
    const keys = [
      lfsKey(hash('aabb01')),
      lfsKey(hash('aabc01')),
      packKey(hash('aa01')),
      packKey(hash('aa02')),
      packKey(hash('ab01')),
      sidecarKey(hash('aa01'), 'idx'),
      sidecarKey(hash('aa01'), 'tbl'),
      stagingKey('upload-1'),
    ]
    for (const key of keys.toReversed()) await store.put(key, chunks('x'.repeat(key.length)))
    const zeros = (count: number) => '0'.repeat(count)
    const expected = [
      `lfs/aa/bb/aabb01${zeros(58)}`,
      `lfs/aa/bc/aabc01${zeros(58)}`,
      `packs/aa/aa01${zeros(60)}.pack`,
      `packs/aa/aa02${zeros(60)}.pack`,
      `packs/ab/ab01${zeros(60)}.pack`,
      `side/aa/aa01${zeros(60)}.idx`,
      `side/aa/aa01${zeros(60)}.tbl`,
      'staging/upload-1',
    ]
    t.same(await keysOf(store.list('')), expected)
    t.same(await keysOf(store.list('packs/')), expected.slice(2, 5))
    t.same(await keysOf(store.list('packs/aa/')), expected.slice(2, 4))
    t.same(await keysOf(store.list('packs/aa/aa02')), expected.slice(3, 4))
    t.same(await keysOf(store.list('pac')), expected.slice(2, 5))
    t.same(await keysOf(store.list('packs/a')), expected.slice(2, 5))
    t.same(await keysOf(store.list('staging/')), expected.slice(7))
    t.same(await keysOf(store.list('other/')), [])
    t.same(await keysOf(store.list('../')), [])
    for await (const info of store.list('side/')) {
      t.equal(info.bytes, 76)
      t.same(info, await store.stat(info.key))
    }
    t.same(await keysOf((await openStore()).store.list('')), [], 'a new store is empty')
  })

  t.test('answers when it is asked whether it works', async (t) => {
    const { store } = await openStore()
    await t.resolves(store.ping())
  })
}

export function filePutContract(t: Test, openStore: OpenStore<BlobStore & FilePut>): void {
  t.test('takes a file over', async (t) => {
    const { store, contents } = await openStore()
    const path = join(t.testdir(), 'source')
    await writeFile(path, 'from a file')
    const key = keyOf('from a file')
    await store.putFile(key, path, sha256('from a file'))
    t.equal((await read(store, key)).toString(), 'from a file')
    t.equal(existsSync(path), false)
    t.same(await contents(), [key])
  })

  t.test('takes a file over also when its bytes are there already; bytes of another size are replaced', async (t) => {
    const { store, contents } = await openStore()
    const folder = t.testdir()
    const key = keyOf('content')
    await store.put(key, chunks('conte'))
    for (const name of ['first', 'second']) {
      const path = join(folder, name)
      await writeFile(path, 'content')
      await store.putFile(key, path, sha256('content'))
      t.equal((await read(store, key)).toString(), 'content')
      t.equal(existsSync(path), false)
    }
    t.same(await contents(), [key])
  })

  t.test('takes several files with the same bytes at once', async (t) => {
    const { store, contents } = await openStore()
    const folder = t.testdir()
    const key = keyOf('content')
    const paths = Array.from({ length: 8 }, () => join(folder, randomUUID()))
    for (const path of paths) await writeFile(path, 'content')
    await Promise.all(paths.map((path) => store.putFile(key, path, sha256('content'))))
    t.equal((await read(store, key)).toString(), 'content')
    t.same(
      paths.filter((path) => existsSync(path)),
      [],
    )
    t.same(await contents(), [key])
  })

  t.test('a file that is not there is an error, and nothing is stored', async (t) => {
    const { store, contents } = await openStore()
    await t.rejects(store.putFile(keyOf('x'), join(t.testdir(), 'absent'), sha256('x')), { code: 'ENOENT' })
    t.same(await contents(), [])
  })
}

export function promoteContract(t: Test, openStore: OpenStore<BlobStore & Promote>): void {
  t.test('staged bytes get their final key', async (t) => {
    const { store, contents } = await openStore()
    const [staging, final] = [stagingKey('one'), lfsKey(sha256('bytes'))]
    await store.put(staging, chunks('bytes'))
    t.match(await store.promote(staging, final), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes')
    t.same(await contents(), [final])
    t.match(await store.promote(staging, final), { key: final, bytes: 5 }, 'again is a success')
  })

  t.test('bytes are staged, and gone when they break off', async (t) => {
    const { store, contents } = await openStore()
    const [one, two, three] = ['one', 'two', 'three'].map((id) => stagingKey(id)) as [BlobKey, BlobKey, BlobKey]
    t.equal(await store.stage(one, chunks('by', 'tes')), 5)
    const broken = new Error('broken')
    const breaking = async function* () {
      yield Buffer.from('by')
      throw broken
    }
    await t.rejects(store.stage(two, breaking()), broken)
    const gone = new Error('gone')
    await t.rejects(store.stage(three, chunks('bytes'), { signal: AbortSignal.abort(gone) }), gone)
    t.same(await contents(), [one])
    const final = lfsKey(sha256('bytes'))
    t.match(await store.promote(one, final), { key: final, bytes: 5 })
    await store.stage(two, chunks('bytes'))
    t.match(await store.promote(two, final), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes')
    t.same(await contents(), [final])
  })

  t.test('where bytes may go to their final key at once, promote finds them, and what is there stays', async (t) => {
    const { store, contents } = await openStore()
    const [one, two, final] = [stagingKey('one'), stagingKey('two'), lfsKey(sha256('bytes'))]
    const known = { bytes: 5, sha256: sha256('bytes'), into: final }
    const broken = new Error('broken')
    const breaking = async function* () {
      yield Buffer.from('by')
      throw broken
    }
    await t.rejects(store.stage(one, breaking(), known), broken)
    t.same(await contents(), [])
    t.equal(await store.stage(one, chunks('by', 'tes'), known), 5)
    t.match(await store.promote(one, final), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes')
    // All of them are asked for though they are there: who sends them shows that he has them.
    let asked = 0
    const counted = async function* () {
      for (const text of ['by', 'tes']) {
        asked++
        yield Buffer.from(text)
      }
    }
    t.equal(await store.stage(two, counted(), known), 5)
    t.equal(asked, 2)
    t.match(await store.promote(two, final), { key: final, bytes: 5 })
    t.same(await contents(), [final])
  })

  t.test('bytes that are at the final key already stay, and the staged ones go', async (t) => {
    const { store, contents } = await openStore()
    const [one, two, final] = [stagingKey('one'), stagingKey('two'), lfsKey(sha256('bytes'))]
    await store.put(one, chunks('bytes'))
    await store.put(two, chunks('other'))
    await store.promote(one, final)
    t.match(await store.promote(two, final), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes')
    t.same(await contents(), [final])
  })

  t.test('what is at the final key in another size than the bytes are known to have is replaced, by bytes that have it', async (t) => {
    const { store, contents } = await openStore()
    const [one, two, three, final] = [stagingKey('one'), stagingKey('two'), stagingKey('three'), lfsKey(sha256('bytes'))]
    await store.put(final, chunks('byt'))
    await store.put(one, chunks('byte'))
    t.match(await store.promote(one, final, { bytes: 5 }), { key: final, bytes: 3 }, 'no better than what is there')
    t.match(await store.promote(three, final, { bytes: 5 }), { key: final, bytes: 3 }, 'nothing is staged')
    await store.stage(two, chunks('bytes'), { bytes: 5, sha256: sha256('bytes'), into: final })
    t.match(await store.promote(two, final, { bytes: 5 }), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes')
    await store.put(three, chunks('other'))
    t.match(await store.promote(three, final, { bytes: 5 }), { key: final, bytes: 5 })
    t.equal((await read(store, final)).toString(), 'bytes', 'what has its size stays')
    t.same(await contents(), [final])
  })

  t.test('several promotions to one key at once all succeed', async (t) => {
    const { store, contents } = await openStore()
    const final = lfsKey(sha256('bytes'))
    const keys = Array.from({ length: 8 }, (_, i) => stagingKey(`s${i}`))
    for (const key of keys) await store.put(key, chunks('bytes'))
    const infos = await Promise.all(keys.map((key) => store.promote(key, final)))
    for (const info of infos) t.match(info, { key: final, bytes: 5 })
    t.same(await contents(), [final])
  })

  t.test('what is neither staged nor final cannot be promoted', async (t) => {
    const { store, contents } = await openStore()
    await t.rejects(store.promote(stagingKey('none'), lfsKey(sha256('none'))), { name: 'HubError', code: 'not-found' })
    t.same(await contents(), [])
  })
}

/** @param leastPartBytes what every part but the last must have at least; shorter texts are filled up with dots */
export function multipartContract(
  t: Test,
  openStore: OpenStore<BlobStore & MultipartStore>,
  { leastPartBytes = 0 }: { readonly leastPartBytes?: number } = {},
): void {
  const key = stagingKey('big')
  const filled = (text: string): string => text.padEnd(leastPartBytes, '.')

  t.test('parts that come in any order, at once and again make one blob, by their numbers', async (t) => {
    const { store, contents } = await openStore()
    const upload = await store.begin(key)
    const [three, one, two] = await Promise.all([
      store.part(upload, 3, chunks('the', ' end')),
      store.part(upload, 1, chunks(filled('begin '))),
      store.part(upload, 2, chunks('wrong')),
    ])
    t.match(three, { number: 3, bytes: 7 })
    const again = await store.part(upload, 2, chunks(filled('middle ')))
    t.not(again.tag, two.tag)
    t.equal(await store.stat(key), undefined, 'it is not there before it is whole')
    t.match(await store.complete(upload, [three, one, again]), { key, bytes: Math.max(6, leastPartBytes) + Math.max(7, leastPartBytes) + 7 })
    t.ok((await read(store, key)).equals(Buffer.from(`${filled('begin ')}${filled('middle ')}the end`)))
    t.same(await contents(), [key])
  })

  t.test('parts may be large, and numbers have gaps', async (t) => {
    const { store } = await openStore()
    const upload = await store.begin(key)
    const content = noise(leastPartBytes + 2_000_000)
    const cut = leastPartBytes + 1_500_000
    const high = await store.part(upload, 10_000, chunks(content.subarray(cut)))
    const low = await store.part(upload, 7, chunks(content.subarray(0, cut)))
    await store.complete(upload, [low, high])
    t.ok((await read(store, key)).equals(content))
  })

  t.test('an upload that was written down goes on', async (t) => {
    const { store } = await openStore()
    const upload = JSON.parse(JSON.stringify(await store.begin(key))) as Awaited<ReturnType<typeof store.begin>>
    const part = JSON.parse(JSON.stringify(await store.part(upload, 1, chunks('x')))) as Awaited<ReturnType<typeof store.part>>
    t.match(await store.complete(upload, [part]), { bytes: 1 })
  })

  t.test('two uploads of one key know nothing of each other', async (t) => {
    const { store } = await openStore()
    const [a, b] = [await store.begin(key), await store.begin(key)]
    const partA = await store.part(a, 1, chunks('a'))
    const partB = await store.part(b, 1, chunks('b'))
    await t.rejects(store.complete(a, [partB]), { code: 'invalid' })
    await store.complete(a, [partA])
    t.equal((await read(store, key)).toString(), 'a')
    await store.complete(b, [partB])
    t.equal((await read(store, key)).toString(), 'b')
  })

  t.test('parts that are missing, doubled or of no number are refused, and the upload goes on', async (t) => {
    const { store } = await openStore()
    const upload = await store.begin(key)
    const part = await store.part(upload, 1, chunks('x'))
    for (const number of [0, -1, 1.5, 10_001, Number.NaN]) {
      await t.rejects(store.part(upload, number, chunks('x')), { name: 'HubError', code: 'invalid' })
    }
    for (const parts of [
      [],
      [part, part],
      [part, { ...part, number: 2 }],
      [{ ...part, tag: 'other' }],
      [{ ...part, tag: '/../x' }],
      [{ ...part, bytes: 2 }],
    ]) {
      await t.rejects(store.complete(upload, parts), { name: 'HubError', code: 'invalid' })
    }
    t.match(await store.complete(upload, [part]), { bytes: 1 })
  })

  t.test('an upload that has ended is not found, however it ended', async (t) => {
    const { store, contents } = await openStore()
    const completed = await store.begin(key)
    const part = await store.part(completed, 1, chunks('x'))
    await store.complete(completed, [part])
    await store.delete(key)
    const aborted = await store.begin(key)
    await store.part(aborted, 1, chunks('x'))
    await store.abort(aborted)
    await store.abort(aborted)
    for (const upload of [completed, aborted, { key, id: '..' }, { key, id: '../packs' }]) {
      await t.rejects(store.part(upload, 2, chunks('x')), { name: 'HubError', code: 'not-found' })
      await t.rejects(store.complete(upload, [part]), { name: 'HubError', code: 'not-found' })
      await store.abort(upload)
    }
    t.same(await contents(), [])
  })

  t.test('a part that fails, is aborted, or comes too late leaves nothing', async (t) => {
    const { store, contents } = await openStore()
    const upload = await store.begin(key)
    const source = (async function* () {
      yield Buffer.alloc(10)
      throw new Error('the client left')
    })()
    await t.rejects(store.part(upload, 1, source), { message: 'the client left' })
    await t.rejects(store.part(upload, 1, chunks('x'), { signal: AbortSignal.abort(new Error('gone')) }), { message: 'gone' })
    const late = (async function* () {
      yield Buffer.alloc(10)
      await store.abort(upload)
    })()
    await t.rejects(store.part(upload, 1, late), { name: 'HubError', code: 'not-found' })
    t.same(await contents(), [])
  })
}
