import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createObjectReader } from '../../../protocol/pack/reader.js'
import type { PackView } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import { altered, memoryPack, packView } from '../../support/pack-view.js'
import { blob, insertDelta, nameOf, packOf, treeOf, type Entry } from '../../support/packs.js'
import { oidOf } from '../../support/wire.js'

/** Versions of a text, each stored as a delta of the one before. */
const texts = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => Buffer.from(`version ${i} of the text\n`.repeat(3)))
const chain = (versions: readonly Buffer[], link: (i: number, delta: Buffer) => Entry): Entry[] =>
  versions.map((data, i) => (i === 0 ? { type: 3, data } : link(i, insertDelta(versions[i - 1]!, data))))
const byOffset = (_: number, delta: Buffer): Entry => ({ back: 1, delta })

t.test('a chain of any length is followed, by offsets or by names', async (t) => {
  const versions = texts(3000)
  const byName = (i: number, delta: Buffer): Entry => ({ base: nameOf({ type: 3, data: versions[i - 1]! }), delta })
  for (const link of [byOffset, byName]) {
    const view = packView([memoryPack(packOf(chain(versions, link)))])
    const reader = createObjectReader(view)
    for (const i of [2999, 0, 1500, 2998]) t.same(await reader.read(i), { type: 3, data: versions[i] })
    t.equal(view.isRefDelta(2999), link === byName)
  }
})

t.test('a base that stands behind its deltas is found', async (t) => {
  const [one, two] = texts(2)
  const name = nameOf({ type: 3, data: one! })
  const view = packView([memoryPack(packOf([{ base: name, delta: insertDelta(one!, two!) }, blob('between'), { type: 3, data: one! }]))])
  t.same(await createObjectReader(view).read(0), { type: 3, data: two })
})

t.test('objects are the same in any order and with any cache', async (t) => {
  const versions = [...texts(300), ...Array.from({ length: 40 }, (_, i) => randomBytes(20_000 + i * 1000))]
  const entries = chain(versions, byOffset)
  const view = packView([memoryPack(packOf(entries))])
  for (const cacheBytes of [0, 200, 5000, 100_000, 2 ** 24]) {
    const reader = createObjectReader(view, { cacheBytes })
    for (let i = 0; i < versions.length; i++) {
      const at = (i * 211) % versions.length
      const { data } = await reader.read(at)
      if (!versions[at]!.equals(data)) t.fail(`object ${at} with a cache of ${cacheBytes} bytes`)
    }
  }
  t.pass()
})

t.test('what lies together is read together, and what was read is at hand', async (t) => {
  const view = packView([memoryPack(packOf(chain(texts(1000), byOffset)))])
  const reader = createObjectReader(view)
  t.equal(reader.readNow(0), undefined)
  for (let i = 0; i < 1000; i++) t.ok(reader.readNow(i) ?? (await reader.read(i)))
  t.ok(view.reads < 20, `${view.reads} reads`)
  t.same(reader.readNow(999), await reader.read(999))
})

t.test('objects larger than what is read ahead', async (t) => {
  const [large, small] = [randomBytes(900_000), blob('small')]
  const larger = Buffer.concat([large, randomBytes(10)])
  const view = packView([memoryPack(packOf([small, { type: 3, data: large }, { back: 1, delta: insertDelta(large, larger) }]))])
  const reader = createObjectReader(view, { cacheBytes: 1000 })
  t.ok(larger.equals((await reader.read(2)).data))
  t.ok(large.equals((await reader.read(1)).data))
  t.equal(reader.readNow(1), undefined, 'too large to be kept')
  t.same(await reader.read(0), small)
})

t.test('the same rank in two packs is two objects', async (t) => {
  const view = packView([memoryPack(packOf([blob('one')])), memoryPack(packOf([blob('two')]))])
  const reader = createObjectReader(view)
  t.same([(await reader.read(0)).data.toString(), (await reader.read(2 ** 32)).data.toString()], ['one', 'two'])
})

t.test('an object is read by its name, if it may be used so', async (t) => {
  const view = packView([memoryPack(packOf([blob('here')]))])
  const name = nameOf(blob('here')) as Oid
  t.same(await createObjectReader(view).readOid(name), blob('here'))
  t.equal(await createObjectReader(view).readOid(oidOf('7')), undefined)
  const garbage = createObjectReader(altered(view, { find: (oid, use) => (use === 'credit' ? -1 : view.find(oid, use)) }))
  t.same(await garbage.readOid(name, 'read'), blob('here'))
  t.equal(await garbage.readOid(name, 'credit'), undefined)
})

t.test('an object over the limit is refused before it is read', async (t) => {
  const view = packView([memoryPack(packOf([blob('123456789'), blob('1234567890')]))])
  const reader = createObjectReader(view, { maxBytes: 9 })
  t.same(await reader.read(0), blob('123456789'))
  const { reads } = view
  await t.rejects(reader.read(1), { code: 'too-large', message: `object ${nameOf(blob('1234567890'))} of 10 bytes is over the limit of 9` })
  t.throws(() => reader.readNow(1), { code: 'too-large' })
  t.equal(view.reads, reads)
})

t.test('bytes that do not read back are corrupt, whichever they are', async (t) => {
  const versions = texts(3)
  const pack = memoryPack(packOf(chain(versions, byOffset)))
  const whole = packView([pack])
  const end = whole.endOf(2)
  let refused = 0
  for (let at = whole.offsetOf(0); at < end; at++) {
    const bytes = Buffer.from(pack.bytes)
    bytes[at]! ^= 0x55
    try {
      const { data } = await createObjectReader(packView([{ ...pack, bytes }])).read(2)
      // Some bits of a zlib header say nothing about the data.
      if (!versions[2]!.equals(data)) t.fail(`byte ${at} goes unnoticed`)
    } catch (error) {
      if ((error as { code?: string }).code !== 'corrupt') t.fail(`byte ${at}: ${String(error)}`)
      refused += 1
    }
  }
  t.ok(refused > (end - 12) * 0.95, `${refused} of ${end - 12} bytes`)
})

t.test('a pack that is cut off is corrupt, wherever it is', async (t) => {
  const pack = memoryPack(packOf(chain(texts(3), byOffset)))
  const view = packView([pack])
  for (let length = 0; length < view.endOf(2); length++) {
    const cut = createObjectReader(packView([{ ...pack, bytes: pack.bytes.subarray(0, length) }]))
    await t.rejects(cut.read(2), { name: 'ProtocolError', code: 'corrupt' }, `${length} bytes`)
  }
})

t.test('a table that says something else than its pack is corrupt', async (t) => {
  const [one, two] = texts(2)
  const data = Buffer.from('of another base\n'.repeat(5))
  const tree = treeOf(['100644', 'x', '1'.repeat(40)])
  const name = (bytes: Buffer) => nameOf({ type: 3, data: bytes })
  const entries: Entry[] = [
    { type: 3, data: one! },
    { type: 3, data },
    { back: 2, delta: insertDelta(one!, two!) },
    { base: name(data), delta: insertDelta(data, Buffer.from('last')) },
    tree,
  ]
  const view = packView([memoryPack(packOf(entries))])
  const refuses = async (changes: Partial<PackView>, entry: number, message: RegExp): Promise<void> => {
    await t.rejects(createObjectReader(altered(view, changes)).read(entry), { code: 'corrupt', message })
  }
  const otherwise = new RegExp(`^object ${name(two!)} is stored as something else than its table says$`)
  await refuses({ baseOf: (entry) => (entry === 2 ? 1 : -1) }, 2, otherwise)
  await refuses({ baseOf: () => -1 }, 2, otherwise)
  await refuses({ baseOf: (entry) => (entry === 3 ? 0 : view.baseOf(entry)) }, 3, /is stored as something else/)
  await refuses({ baseOf: (entry) => (entry === 1 ? 0 : view.baseOf(entry)) }, 1, /is stored as something else/)
  await refuses({ typeOf: () => 3 }, 4, /is stored as something else/)
  await refuses({ sizeOf: (entry) => (entry === 0 ? 7 : view.sizeOf(entry)) }, 0, /^object \w{40} has \d+ bytes and not 7$/)
  await refuses({ sizeOf: (entry) => (entry === 2 ? 1 : view.sizeOf(entry)) }, 2, /^object \w{40} /)
  await refuses({ sizeOf: (entry) => (entry === 2 ? 1_000_000 : view.sizeOf(entry)) }, 2, /^object \w{40} has \d+ bytes and not 1000000$/)
  await refuses({ offsetOf: (entry) => (entry === 1 ? view.offsetOf(1) + 1 : view.offsetOf(entry)) }, 1, /^object \w{40} /)
  await refuses({ baseOf: (entry) => (entry === 2 ? 3 : entry === 3 ? 2 : -1) }, 2, /^object \w{40} has no end of delta bases$/)
})
