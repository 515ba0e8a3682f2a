import t from 'tap'
import { readIndexCrcs } from '../../../protocol/pack/index-file.js'
import { memoryPack } from '../../support/pack-view.js'
import { blob, indexedByGit, indexPack, insertDelta, packOf, sealed } from '../../support/packs.js'

const [text, other] = [blob('line of text\n'.repeat(50)), blob('line of other text\n'.repeat(50))]
const pack = packOf([text, { back: 1, delta: insertDelta(text.data, other.data) }, blob('a'), blob('b')])

t.test('what C git wrote down of each entry is read, by rank', async (t) => {
  const { idx } = await indexedByGit(pack)
  const crcs = readIndexCrcs(idx, memoryPack(pack).table)
  t.equal(crcs.length, 4)
  t.same([...crcs], [...indexPack(pack).index.crcs])
  t.ok(crcs.buffer instanceof SharedArrayBuffer)
})

t.test('an index that is cut off, none, or of another pack is refused', async (t) => {
  const { table } = memoryPack(pack)
  const { idx } = await indexedByGit(pack)
  const another = await indexedByGit(packOf([text, other, blob('a'), blob('c')]))
  const wrong: readonly (readonly [string, Buffer])[] = [
    ['nothing', Buffer.alloc(0)],
    ['cut off', idx.subarray(0, -1)],
    ['of another pack', another.idx],
    ['another format', sealed(Buffer.concat([Buffer.from('X'), idx.subarray(1, -20)]))],
  ]
  for (const [name, file] of wrong)
    t.throws(() => readIndexCrcs(file, table), { code: 'corrupt', message: 'pack index is that of another pack' }, name)
})
