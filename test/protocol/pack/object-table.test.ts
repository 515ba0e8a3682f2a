import { createHash } from 'node:crypto'
import t from 'tap'
import { encodeObjectTable, ObjectTable } from '../../../protocol/pack/object-table.js'
import type { PackIndex } from '../../../protocol/pack/pack-index.js'
import { sortOids } from '../../../protocol/pack/sort-oids.js'

const packSha256 = Buffer.alloc(32, 0x5a)

function indexOf(objects: readonly { oid: Uint8Array; offset: number; size: number; type: number; base?: number }[], packBytes: number): PackIndex {
  const oids = Buffer.concat(objects.map(({ oid }) => oid))
  const rankOfRow = sortOids(oids, objects.length)
  return {
    count: objects.length,
    packBytes,
    packSha1: Buffer.alloc(20),
    offsets: Float64Array.from(objects, ({ offset }) => offset),
    sizes: Float64Array.from(objects, ({ size }) => size),
    types: Uint8Array.from(objects, ({ type }) => type),
    bases: Int32Array.from(objects, ({ base = -1 }) => base),
    crcs: new Uint32Array(objects.length),
    oids,
    rankOfRow,
    rowOfRank: Uint32Array.from(objects, (_, rank) => rankOfRow.indexOf(rank)),
  }
}

const oid = (seed: number): Buffer => createHash('sha1').update(String(seed)).digest()

// A commit, a blob over 4 GiB behind 4 GiB of pack, and a REF_DELTA of it.
const three = indexOf(
  [
    { oid: Buffer.alloc(20, 0xee), offset: 12, size: 200, type: 1 },
    { oid: Buffer.alloc(20, 0x01), offset: 0x1_0000_0200, size: 0x1_2345_6789, type: 3 },
    { oid: Buffer.alloc(20, 0x02), offset: 0x2_0000_0000, size: 7, type: 0x83, base: 1 },
  ],
  0x2_0000_0100,
)

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

t.test('a table is written to the byte', async (t) => {
  const fanout = Buffer.alloc(1024)
  for (let byte = 0; byte < 256; byte++) fanout.writeUInt32LE(byte < 1 ? 0 : byte < 2 ? 1 : byte < 0xee ? 2 : 3, byte * 4)
  t.same(
    encodeObjectTable(three, packSha256),
    Buffer.concat([
      hex('4354424c 01000000 03000000 01000000'),
      packSha256,
      hex('00000008 00000042 00000000 00000000'),
      fanout,
      Buffer.alloc(20, 1),
      Buffer.alloc(20, 2),
      Buffer.alloc(20, 0xee),
      hex('00000000'),
      hex('01000000 02000000 00000000 00000000'), // ranks
      hex('0c000000 00020000 00000000 00000000'), // offsets, low
      hex('0000 0100 0200 0000'), // and high
      hex('02000000 00000000 01000000 00000000'), // rows
      hex('ffffffff ffffffff 01000000 00000000'), // bases
      hex('c8000000 ffffffff 07000000 00000000'), // sizes
      hex('01 03 83 0000000000'), // types
      hex('01000000 00000000 0000 9078 5634 f241'), // tail
    ]),
  )
})

t.test('a table answers as it was written, from any memory', async (t) => {
  const encoded = encodeObjectTable(three, packSha256)
  const shared = new Uint8Array(new SharedArrayBuffer(encoded.length + 16), 16)
  shared.set(encoded)
  for (const bytes of [encoded, shared]) {
    const table = ObjectTable.open(bytes)
    t.match(table, { count: 3, packBytes: 0x2_0000_0100 })
    t.equal(table.bytes, bytes)
    t.same(Buffer.from(table.packSha256), packSha256)
    t.same(
      [0, 1, 2].map((rank) => [
        table.typeOf(rank),
        table.sizeOf(rank),
        table.offsetOf(rank),
        table.endOf(rank),
        table.baseOf(rank),
        table.isRefDelta(rank),
      ]),
      [
        [1, 200, 12, 0x1_0000_0200, -1, false],
        [3, 0x1_2345_6789, 0x1_0000_0200, 0x2_0000_0000, -1, false],
        [3, 7, 0x2_0000_0000, 0x2_0000_00ec, 1, true],
      ],
    )
    t.same(
      [0, 1, 2].map((row) => table.rankOfRow(row)),
      [1, 2, 0],
    )
    t.same(
      [0, 1, 2].map((rank) => table.rowOfRank(rank)),
      [2, 0, 1],
    )
    t.equal(table.findRow(Buffer.alloc(20, 2)), 1)
    t.equal(table.findRow(Buffer.alloc(20, 3)), -1)
    const into = Buffer.alloc(20)
    table.oidOfRank(0, into)
    t.same(into, Buffer.alloc(20, 0xee))
    t.same(Buffer.from(bytes.subarray(table.oidsAt(0), table.oidsAt(0) + 20)), Buffer.alloc(20, 1))
  }
})

t.test('the first row from an oid on, whether or not it is there', async (t) => {
  const table = ObjectTable.open(encodeObjectTable(three, packSha256))
  const rows: readonly [oid: string, row: number][] = [
    ['00'.repeat(20), 0],
    ['01'.repeat(20), 0],
    [`${'01'.repeat(19)}02`, 1],
    ['02'.repeat(20), 1],
    [`02${'03'.repeat(19)}`, 2],
    ['03'.repeat(20), 2],
    ['ee'.repeat(20), 2],
    [`ee${'ff'.repeat(19)}`, 3],
    ['ff'.repeat(20), 3],
  ]
  for (const [from, row] of rows) t.equal(table.firstRowFrom(hex(from)), row, from)
  t.equal(ObjectTable.open(encodeObjectTable(indexOf([], 32), packSha256)).firstRowFrom(Buffer.alloc(20, 7)), 0)
})

t.test('every object of a large table is found, and nothing else', async (t) => {
  const count = 3000
  const index = indexOf(
    Array.from({ length: count }, (_, i) => ({ oid: oid(i), offset: 12 + i * 50, size: i, type: 1 + (i % 4) })),
    12 + count * 50 + 20,
  )
  const table = ObjectTable.open(encodeObjectTable(index, packSha256))
  const wrong = Array.from({ length: count }, (_, i) => i).filter((i) => table.rankOfRow(table.findRow(oid(i))) !== i || table.sizeOf(i) !== i)
  t.same(wrong, [])
  t.same(
    Array.from({ length: count }, (_, i) => table.findRow(oid(count + i))).filter((row) => row !== -1),
    [],
  )
})

t.test('a table of nothing is one', async (t) => {
  const table = ObjectTable.open(encodeObjectTable(indexOf([], 32), packSha256))
  t.equal(table.count, 0)
  for (const byte of [0, 1, 255]) t.equal(table.findRow(Buffer.alloc(20, byte)), -1)
})

/** A table over 8-aligned memory of its own. */
function copyOf(bytes: Uint8Array, length = bytes.length): Buffer {
  const copy = Buffer.from(new ArrayBuffer(length))
  copy.set(bytes.subarray(0, length))
  return copy
}

t.test('a table that is cut off or goes on is refused, at every length', async (t) => {
  const table = encodeObjectTable(three, packSha256)
  for (let length = 0; length < table.length; length++) t.throws(() => ObjectTable.open(copyOf(table, length)), { code: 'corrupt' })
  t.throws(() => ObjectTable.open(copyOf(table, table.length + 8)), { code: 'corrupt' })
})

t.test('a table that lies is refused', async (t) => {
  const at = { ranks: 1152, offsetsLow: 1168, offsetsHigh: 1184, rows: 1192, bases: 1208, sizes: 1224, types: 1240, tail: 1248 }
  const cases: readonly [lie: string, offset: number, hex: string, message: string][] = [
    ['another format', 0, '58', 'is none'],
    ['a later version', 4, '02', 'has version 2'],
    ['more objects', 8, '04', 'has 1264 bytes and not 1280'],
    ['objects beyond counting', 8, 'ffffffff', 'has 1264 bytes and not 184683594816'],
    ['a longer tail', 12, '02', 'has 1264 bytes and not 1280'],
    ['a pack of no size', 48, '000000000000f87f', 'has an impossible pack size'],
    ['a pack of half a byte', 48, '000000000000e03f', 'has an impossible pack size'],
    ['a short pack', 48, '000000000000e041', 'has offsets beyond the end of the pack'],
    ['bytes in a gap', 60, '01', 'has something in its gaps'],
    ['bytes in another gap', 1243, '01', 'has something in its gaps'],
    ['a fan-out that falls', 64 + 4, 'ff', 'has a fan-out that does not rise to its count'],
    ['a fan-out that does not match', 64 + 4, '00', 'has a fan-out that does not match its oids'],
    ['a fan-out that stops short', 64 + 255 * 4, '02', 'has a fan-out that does not rise to its count'],
    ['an oid out of order', 1088 + 20, '00', 'has a fan-out that does not match its oids'],
    ['a rank beyond the count', at.ranks, '03', 'has rows and ranks that do not match'],
    ['a rank twice', at.ranks, '02', 'has rows and ranks that do not match'],
    ['a row twice', at.rows, '01', 'has rows and ranks that do not match'],
    ['a first object not at the beginning', at.offsetsLow, '0d', 'has offsets out of order'],
    ['offsets out of order', at.offsetsHigh + 4, '00', 'has offsets out of order'],
    ['a base of a whole object', at.bases, '02000000', 'has a delta base out of its place'],
    ['a base beyond the count', at.bases + 8, '03', 'has a delta base out of its place'],
    ['a base before the first', at.bases, 'feffffff', 'has a delta base out of its place'],
    ['a base of another type', at.bases + 8, '00', 'has a delta base of another type'],
    ['its own base', at.bases + 8, '02', 'has a delta that leads back to itself'],
    ['a named base and none', at.bases + 8, 'ffffffff', 'has no object type 131'],
    ['type 0', at.types, '00', 'has no object type 0'],
    ['type 5', at.types, '05', 'has no object type 5'],
    ['other bits of a type', at.types, '41', 'has no object type 65'],
    ['a size in the tail that is not there', at.sizes, 'ffffffff', 'has sizes that are nowhere'],
    ['a tail nobody refers to', at.sizes + 4, '00000000', 'has a tail out of order'],
    ['a tail for another', at.tail, '02', 'has a tail out of order'],
    ['a tail with something in its gap', at.tail + 4, '01', 'has a tail out of order'],
    ['a small size in the tail', at.tail + 8, '0000000000005940', 'has an impossible size'],
  ]
  const table = encodeObjectTable(three, packSha256)
  for (const [lie, offset, bytes, message] of cases) {
    const lying = copyOf(table)
    lying.set(hex(bytes), offset)
    t.throws(() => ObjectTable.open(lying), { code: 'corrupt', message: `object table ${message}` }, lie)
  }
})

t.test('bases that run in a circle are refused, however they got there', async (t) => {
  const chain = (bases: readonly number[]): PackIndex =>
    indexOf(
      bases.map((base, i) => ({ oid: oid(i), offset: 12 + i * 50, size: 10, type: base === -1 ? 3 : 0x83, base })),
      12 + bases.length * 50 + 20,
    )
  t.equal(ObjectTable.open(encodeObjectTable(chain([1, 2, 3, -1, 3, 0]), packSha256)).baseOf(5), 0)
  for (const bases of [[1, 0], [0], [-1, 2, 3, 1], [4, 0, 1, 2, 3], [1, 2, 1, -1]]) {
    t.throws(() => ObjectTable.open(encodeObjectTable(chain(bases), packSha256)), { code: 'corrupt', message: /leads back to itself/ }, String(bases))
  }
})
