import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { MultiPackIndex } from '../../../protocol/pack/multi-pack-index.js'
import { encodeMultiPackIndex, type IndexedPack } from '../../../protocol/pack/multi-pack-index-writer.js'
import { encodeObjectTable, ObjectTable } from '../../../protocol/pack/object-table.js'
import { sortOids } from '../../../protocol/pack/sort-oids.js'
import { git } from '../../support/git.js'
import { manyPacks } from '../../support/many-packs.js'
import { sha1 } from '../../support/packs.js'
import { refusesDamage, refusesLies, survivesFuzz } from '../../support/side-files.js'

/** A table of objects by their first byte, at these offsets. */
function tableOf(objects: readonly { oid: number; offset: number }[]): ObjectTable {
  const count = objects.length
  const oids = Buffer.concat(objects.map(({ oid }) => Buffer.alloc(20, oid)))
  const rankOfRow = sortOids(oids, count)
  const zeros = new Float64Array(count)
  const index = {
    count,
    packBytes: count === 0 ? 32 : objects.at(-1)!.offset + 100,
    packSha1: Buffer.alloc(20),
    offsets: Float64Array.from(objects, ({ offset }) => offset),
    sizes: zeros,
    types: new Uint8Array(count).fill(3),
    bases: new Int32Array(count).fill(-1),
    crcs: new Uint32Array(count),
    oids,
    rankOfRow,
    rowOfRank: Uint32Array.from(objects, (_, rank) => rankOfRow.indexOf(rank)),
  }
  return ObjectTable.open(encodeObjectTable(index, Buffer.alloc(32)))
}

const two: readonly IndexedPack[] = [
  { name: 'pack-b.idx', table: tableOf([9, 2, 5].map((oid, i) => ({ oid, offset: 12 + i * 50 }))) },
  { name: 'pack-a.idx', table: tableOf([5, 3, 9].map((oid, i) => ({ oid, offset: 12 + i * 50 }))) },
]

const placesOf = (midx: MultiPackIndex): [oid: number, pack: number, offset: number][] =>
  Array.from({ length: midx.count }, (_, row) => [midx.oidOf(row)[0]!, midx.packOf(row), midx.offsetOf(row)])

t.test('what several packs have is taken from the first, and the first pack has the first bits', async (t) => {
  const midx = MultiPackIndex.open(encodeMultiPackIndex(two))
  t.same(midx.packNames, ['pack-a.idx', 'pack-b.idx'])
  t.same(placesOf(midx), [
    [2, 1, 62],
    [3, 0, 62],
    [5, 1, 112],
    [9, 1, 12],
  ])
  t.same([...midx.rowOfBit], [3, 0, 2, 1])
  t.same([...midx.bitOfRow], [1, 3, 2, 0])
  t.same(
    [1, 2, 3, 9].map((oid) => midx.findRow(Buffer.alloc(20, oid))),
    [-1, 0, 1, 3],
  )
  t.equal(midx.findRow(Buffer.concat([Buffer.alloc(3), Buffer.alloc(20, 5)]), 3), 2)
})

t.test('offsets over 4 GiB go to a chunk of their own, and with them those over 2 GiB', async (t) => {
  const cases: readonly [last: number, hasLarge: boolean][] = [
    [2 ** 32 - 1, false],
    [2 ** 32, true],
    [2 ** 40 + 7, true],
  ]
  for (const [last, hasLarge] of cases) {
    const offsets = [12, 2 ** 31 - 1, 2 ** 31 + 8, last]
    const file = encodeMultiPackIndex([{ name: 'pack-a.idx', table: tableOf(offsets.map((offset, i) => ({ oid: 7 - i, offset }))) }])
    t.equal(file.includes('LOFF'), hasLarge)
    t.same(
      placesOf(MultiPackIndex.open(file)).map(([, , offset]) => offset),
      offsets.toReversed(),
    )
  }
})

t.test('no packs, two of a name, and packs of nothing', async (t) => {
  t.throws(() => encodeMultiPackIndex([]), { code: 'bad-request' })
  t.throws(() => encodeMultiPackIndex([two[0]!, two[0]!]), { code: 'bad-request' })
  t.throws(() => encodeMultiPackIndex(Array.from({ length: 65_537 }, () => two[0]!)), { code: 'too-large' })
  const empty = MultiPackIndex.open(encodeMultiPackIndex([{ name: 'pack-a.idx', table: tableOf([]) }]))
  t.same([empty.count, empty.findRow(Buffer.alloc(20))], [0, -1])
})

t.test('C git accepts it and writes the same bytes for the same packs', async (t) => {
  const bare = join(t.testdir(), 'bare')
  const packs = await manyPacks(bare, 400)
  const at = join(bare, 'objects', 'pack', 'multi-pack-index')
  for (const order of [[0, 1, 2], [1], [1, 2]]) {
    const given = order.map((i) => packs[i]!)
    const file = encodeMultiPackIndex(given)
    const input = Buffer.from(given.map(({ name }) => `${name}\n`).join(''))
    const args = ['multi-pack-index', 'write', '--bitmap', '--stdin-packs', `--preferred-pack=${given[0]!.name}`]
    await git(args, { cwd: bare, input })
    t.ok(file.equals(readFileSync(at)), `the same bytes for packs ${order.join()}`)
    writeFileSync(at, file)
    await git(['multi-pack-index', 'verify'], { cwd: bare })
  }
  const { count } = MultiPackIndex.open(readFileSync(at))
  t.ok(count > 1000 && packs.reduce((sum, { table }) => sum + table.count, 0) > count)
  await git(['fsck', '--full'], { cwd: bare })
})

t.test('every object of many packs is found where it is taken from', async (t) => {
  const random = (i: number): number => sha1(Buffer.from(String(i))).readUInt32BE()
  const packs = Array.from({ length: 40 }, (_, pack) => {
    const oids = [...new Set(Array.from({ length: random(pack) % 30 }, (_, i) => random(pack * 100 + i) % 256))]
    return { name: `pack-${random(pack)}.idx`, oids, table: tableOf(oids.map((oid, i) => ({ oid, offset: 12 + i * 50 }))) }
  })
  const midx = MultiPackIndex.open(encodeMultiPackIndex(packs))
  const distinct = [...new Set(packs.flatMap(({ oids }) => oids))].toSorted((a, b) => a - b)
  const names = packs.map(({ name }) => name).toSorted()
  const expected = distinct.map((oid) => {
    const pack = packs.find(({ oids }) => oids.includes(oid))!
    return [oid, names.indexOf(pack.name), 12 + pack.oids.indexOf(oid) * 50]
  })
  t.same(placesOf(midx), expected)
  t.ok(distinct.length > 200)
})

t.test('a file that is cut off or spoilt anywhere is refused', async (t) => refusesDamage(t, encodeMultiPackIndex(two), MultiPackIndex.open))

t.test('a file that lies is refused, or no lookup leaves it', async (t) => {
  const toc = 12
  const oidl = 12 + 6 * 12 + 24 + 1024
  const ooff = oidl + 80
  const ridx = ooff + 32
  const cases: readonly [lie: string, offset: number, hex: string, message: string][] = [
    ['another format', 0, '58', 'is none'],
    ['another version', 4, '02', 'has version 2'],
    ['another hash', 5, '02', 'is not of SHA-1'],
    ['fewer chunks', 6, '04', 'has chunks that do not follow one another'],
    ['more chunks', 6, 'ff', 'is cut off'],
    ['a base', 7, '01', 'is a part of a chain'],
    ['fewer packs', 11, '01', 'has something behind its names'],
    ['more packs', 11, '03', 'has names out of order'],
    ['packs beyond counting', 8, '00010001', 'is of 65537 packs'],
    ['a chunk of another name', toc, '51', 'has no chunk PNAM'],
    ['a chunk twice', toc + 12, '504e414d', 'has two chunks PNAM'],
    ['a chunk that begins elsewhere', toc + 11, '00', 'has chunks that do not follow one another'],
    ['a chunk beyond the end', toc + 12 + 4, 'ff', 'has a chunk beyond its end'],
    ['a chunk without a name', toc + 24, '00000000', 'has a table of contents that ends elsewhere'],
    ['a last chunk that ends early', toc + 60 + 11, 'e8', 'has something behind its chunks'],
    ['names out of order', 12 + 6 * 12 + 5, '63', 'has names out of order'],
    ['a fan-out that stops short', oidl - 1, '03', 'has a chunk OIDL of 80 bytes and not 60'],
    ['an oid out of order', oidl + 20, '02', 'has a fan-out that does not match its oids'],
    ['a pack that is not there', ooff + 3, '02', 'has an object in a pack it does not name'],
    ['a row beyond the count', ridx + 3, '04', 'does not have every row once in the order of its bits'],
    ['a row twice', ridx + 3, '00', 'does not have every row once in the order of its bits'],
    ['bits out of order', ridx, '00000000 00000003', 'has bits out of order'],
    ['a pack in two parts', ridx, '00000003 00000001 00000000 00000002', 'has bits out of order'],
  ]
  const file = encodeMultiPackIndex(two)
  refusesLies(
    t,
    file,
    cases.map(([lie, offset, hex, message]) => [lie, offset, hex, `multi-pack index ${message}`]),
    MultiPackIndex.open,
  )
  const far = encodeMultiPackIndex([{ name: 'pack-a.idx', table: tableOf([12, 2 ** 31, 2 ** 33].map((offset, i) => ({ oid: i, offset }))) }])
  const [farPlaces, farOffsets] = [far.indexOf('LOFF') + 24 + 12 + 12 + 1024 + 60, far.length - 20 - 12 - 16]
  refusesLies(
    t,
    far,
    [
      ['an offset that is nowhere', farPlaces + 8 + 7, '02', 'multi-pack index has an offset that is nowhere'],
      ['an offset beyond counting', farOffsets, 'ff', 'multi-pack index has an impossible offset'],
      ['offsets that are cut off', toc + 5 * 12 + 11, 'cc', 'multi-pack index has a chunk LOFF that is cut off'],
    ],
    MultiPackIndex.open,
  )
  survivesFuzz(t, file, 10_000, MultiPackIndex.open, (midx) => {
    for (const [, pack, offset] of placesOf(midx))
      if (pack >= midx.packNames.length || !Number.isSafeInteger(offset)) t.fail('a lookup left the file')
  })
})
