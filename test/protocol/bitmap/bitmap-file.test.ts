import t from 'tap'
import type { BitOrder } from '../../../protocol/bitmap/bit-order.js'
import { BitSet } from '../../../protocol/bitmap/bit-set.js'
import { BitmapFile } from '../../../protocol/bitmap/bitmap-file.js'
import { encodeBitmapFile, type CommitBitmap } from '../../../protocol/bitmap/bitmap-file-writer.js'
import type { Ewah } from '../../../protocol/bitmap/ewah.js'
import { dice } from '../../support/dice.js'
import { sealed } from '../../support/packs.js'
import { refusesDamage, refusesLies, survivesFuzz } from '../../support/side-files.js'

const checksum = Buffer.alloc(20, 0x55)

/** Objects whose rows run against their bits. */
const orderOf = (count: number): BitOrder => ({
  count,
  checksum,
  findBit: () => -1,
  bitOfRow: (row) => count - 1 - row,
  rowOfBit: (bit) => count - 1 - bit,
  entryOfBit: (bit) => bit,
})

function ewahOf(count: number, bits: readonly number[]): Ewah {
  const set = new BitSet(count)
  for (const bit of bits) set.set(bit)
  return set.toEwah()
}

const bitsOf = (set: BitSet | undefined): number[] | undefined => {
  if (!set) return undefined
  const bits: number[] = []
  set.each((bit) => bits.push(bit))
  return bits
}

const order = orderOf(8)
const types = [ewahOf(8, [0, 1, 2]), ewahOf(8, [3, 4]), ewahOf(8, [5, 6]), ewahOf(8, [7])] as const
const bitmaps: CommitBitmap[] = [
  { commit: 0, reachable: ewahOf(8, [0, 1, 3, 4, 5, 6]) },
  { commit: 1, reachable: ewahOf(8, [1, 4, 6]) },
]
const file = encodeBitmapFile(order, [...types], bitmaps)

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const literal = (word: string): string => `00000040 00000002 0000000200000000 00000000000000${word} 00000000`

t.test('a file is written to the byte, and answers', async (t) => {
  const expected = sealed(
    hex(
      [
        `4249544d 0001 0001 00000002 ${'55'.repeat(20)}`,
        ...['07', '18', '60', '80'].map(literal),
        `00000007 00 00 ${literal('7b')}`,
        `00000006 00 00 ${literal('52')}`,
      ].join(''),
    ),
  )
  t.equal(file.toString('hex'), expected.toString('hex'))
  const opened = BitmapFile.open(file, order)
  t.equal(opened.count, 2)
  t.same([...opened.commits], [0, 1])
  t.same(
    [0, 1, 2].map((commit) => bitsOf(opened.reachableFrom(commit))),
    [[0, 1, 3, 4, 5, 6], [1, 4, 6], undefined],
  )
  t.same([opened.has(1), opened.has(2)], [true, false])
  t.same(
    ([1, 2, 3, 4] as const).map((type) => bitsOf(opened.ofType(type))),
    [[0, 1, 2], [3, 4], [5, 6], [7]],
  )
})

t.test('what is alike is kept as its difference, and comes back whole', async (t) => {
  const random = dice(31)
  const count = 40_000
  const large = orderOf(count)
  const reached: number[][] = []
  for (let commit = 0; commit < 300; commit++) {
    const bits = new Set(reached.at(-1) ?? Array.from({ length: 5000 }, () => random(count)))
    for (let k = 0; k < 20; k++) bits.add(random(count))
    reached.push([...bits].toSorted((a, b) => a - b))
  }
  const none = ewahOf(count, [])
  const many = reached.map((bits, commit): CommitBitmap => ({ commit, reachable: ewahOf(count, bits) }))
  const packed = encodeBitmapFile(large, [none, none, none, none], many)
  const alone = many.reduce((sum, { reachable }) => sum + reachable.words.byteLength, 0)
  t.ok(packed.length < alone / 5, `${packed.length} of ${alone} bytes`)
  const opened = BitmapFile.open(packed, large)
  for (const [commit, bits] of reached.entries()) if (String(bitsOf(opened.reachableFrom(commit))) !== String(bits)) t.fail(`commit ${commit}`)
})

t.test('a file with what other writers add is read', async (t) => {
  const body = Buffer.from(file.subarray(0, -20))
  body.writeUInt16BE(1 + 4 + 16, 6)
  const more = sealed(Buffer.concat([body, Buffer.alloc(2 * 16), Buffer.alloc(8 * 4)]))
  t.same(bitsOf(BitmapFile.open(more, order).reachableFrom(1)), [1, 4, 6])
})

t.test('a file that is cut off, spoilt, or of other objects is refused', async (t) => {
  refusesDamage(t, file, (bytes) => BitmapFile.open(bytes, order))
  t.throws(() => BitmapFile.open(file, { ...order, checksum: Buffer.alloc(20) }), { code: 'corrupt', message: 'bitmap file is of other objects' })
})

t.test('a file that lies is refused, or stays within its objects', async (t) => {
  const entries = 32 + 4 * 28
  const open = (bytes: Buffer): BitmapFile => BitmapFile.open(bytes, order)
  refusesLies(
    t,
    file,
    [
      ['another format', 0, '58', 'bitmap file is none'],
      ['a later version', 5, '02', 'bitmap file has version 2'],
      ['objects that are not there', 7, '00', 'bitmap file has flags 0'],
      ['flags nobody knows', 7, '21', 'bitmap file has flags 33'],
      ['fewer entries', 11, '01', 'bitmap file has another length than its parts'],
      ['more entries', 11, '03', 'bitmap file is cut off'],
      ['entries beyond counting', 8, 'ffffffff', 'bitmap file is cut off'],
      ['a commit beyond the objects', entries + 3, '08', 'bitmap file has a commit beyond its objects'],
      ['a commit twice', entries + 34 + 3, '07', 'bitmap file has a commit twice'],
      ['a difference from nothing', entries + 4, '01', 'bitmap file has a bitmap that differs from none'],
      ['a difference from before the first', entries + 34 + 4, '02', 'bitmap file has a bitmap that differs from none'],
      ['bits beyond the objects', 32 + 16 + 6, '01', 'bitmap has bits beyond its objects'],
    ],
    open,
  )
  survivesFuzz(t, file, 10_000, open, (opened) => {
    for (const commit of opened.commits) if (bitsOf(opened.reachableFrom(commit))!.some((bit) => bit >= 8)) t.fail('a bit beyond the objects')
  })
})
