import t from 'tap'
import { indexBitOrder, pairBitOrder } from '../../../protocol/bitmap/bit-order.js'
import { MultiPackIndex } from '../../../protocol/pack/multi-pack-index.js'
import { encodeMultiPackIndex } from '../../../protocol/pack/multi-pack-index-writer.js'
import { blob, packOf } from '../../support/packs.js'
import { memoryPack } from '../../support/pack-view.js'

const packWith = (...texts: string[]) => memoryPack(packOf(texts.map((text) => blob(text)))).table
const texts = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name} ${i}`)

for (const [name, first, second, firstName] of [
  ['many in both', texts('one', 300), texts('two', 200), 'pack-1.idx'],
  ['the preferred pack comes second by name', texts('one', 40), texts('two', 50), 'pack-9.idx'],
  ['one object each', texts('one', 1), texts('two', 1), 'pack-1.idx'],
  ['far more in the second', texts('one', 3), texts('two', 400), 'pack-1.idx'],
] as const) {
  t.test(`two packs have the order of their index without it: ${name}`, async (t) => {
    const [meta, blobs] = [
      { ordinal: 3, table: packWith(...first) },
      { ordinal: 1, table: packWith(...second) },
    ]
    const index = MultiPackIndex.open(
      encodeMultiPackIndex([
        { name: firstName, table: meta.table },
        { name: 'pack-5.idx', table: blobs.table },
      ]),
    )
    const expected = indexBitOrder(index, firstName < 'pack-5.idx' ? [meta, blobs] : [blobs, meta])
    const order = pairBitOrder(meta, blobs, index.checksum)
    t.equal(order.count, first.length + second.length)
    t.equal(order.checksum, index.checksum)
    for (let bit = 0; bit < order.count; bit++) {
      const row = expected.rowOfBit(bit)
      const oid = index.oidOf(row)
      const found = [
        order.rowOfBit(bit),
        order.bitOfRow(row),
        order.findBit(oid),
        order.findBit(Buffer.concat([oid, oid]), 20),
        order.entryOfBit(bit),
      ]
      if (JSON.stringify(found) !== JSON.stringify([row, bit, bit, bit, expected.entryOfBit(bit)])) t.fail(`bit ${bit}: ${found.join(' ')}`)
    }
    t.equal(order.findBit(Buffer.alloc(20)), -1)
  })
}

t.test('packs that share an object have no such order', async (t) => {
  const table = packWith('one', 'two')
  const order = pairBitOrder({ ordinal: 0, table }, { ordinal: 1, table }, Buffer.alloc(20))
  t.throws(() => order.bitOfRow(1), { code: 'corrupt' })
})
