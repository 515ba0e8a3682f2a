import t from 'tap'
import { applyDelta, deltaSizes } from '../../../protocol/pack/delta.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const base = Buffer.from('0123456789')

t.test('copies and inserts make the object', async (t) => {
  const cases: readonly [delta: string, result: string][] = [
    ['0a 00', ''],
    ['0a 03 03 616263', 'abc'],
    ['0a 04 90 04', '0123'],
    ['0a 04 91 03 04', '3456'],
    ['0a 08 91 03 04 02 7879 91 08 02', '3456xy89'],
    ['0a 0a b0 0a 00', '0123456789'],
    ['0a 02 9f 01 00 00 00 02', '12'],
    ['0a 02 f1 07 02 00 00', '78'],
  ]
  for (const [delta, result] of cases) {
    t.equal(applyDelta(base, hex(delta), 100).toString(), result, delta)
    t.match(deltaSizes(hex(delta)), { base: 10, result: result.length })
  }
})

t.test('a copy of length 0 is one of 65536, and long copies and inserts are whole', async (t) => {
  const long = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 31) % 251))
  const text = Buffer.alloc(127, 'long insert ')
  // 70000 = 0xf0 0xa2 0x04; results of 65536 + 127 = 65663 = 0xff 0x80 0x04
  const delta = Buffer.concat([hex('f0a204 ff8004 81 ff 7f'), text])
  t.same(applyDelta(long, delta, 70_000), Buffer.concat([long.subarray(255, 255 + 65536), text]))
})

t.test('deltas that lie are refused', async (t) => {
  const cases: readonly [delta: string, message: string][] = [
    ['', 'delta ends early'],
    ['0a', 'delta ends early'],
    ['8a', 'delta ends early'],
    ['0a 80', 'delta ends early'],
    ['0b 01 90 01', 'delta wants a base of 11 bytes, and it has 10'],
    ['0a 05', 'delta makes 0 bytes and not the 5 it states'],
    ['0a 05 90 04', 'delta makes 4 bytes and not the 5 it states'],
    ['0a 05 90 06', 'delta makes more bytes than it states'],
    ['0a 01 02 6162', 'delta makes more bytes than it states'],
    ['0a 05 91 06 05', 'delta copies from beyond its base'],
    ['0a 05 9f ff ff ff ff 05', 'delta copies from beyond its base'],
    ['0a 05 88 80', 'delta copies from beyond its base'],
    ['0a 05 90 05 00', 'delta has a reserved instruction'],
    ['0a 05 05 61626364', 'delta ends early'],
    ['0a 05 91 00', 'delta ends early'],
    ['0a 05 ff', 'delta ends early'],
    [`${'80'.repeat(10)}01 00`, 'delta states an impossible size'],
  ]
  for (const [delta, message] of cases) t.throws(() => applyDelta(base, hex(delta), 100), { code: 'bad-pack', message }, delta)
  t.throws(() => deltaSizes(hex('8a')), { code: 'bad-pack', message: 'delta ends early' })
})

t.test('a result over the limit is refused before it is made', async (t) => {
  t.throws(() => applyDelta(base, hex('0a 65'), 100), { code: 'too-large', message: 'object of 101 bytes is over the limit of 100' })
  t.throws(() => applyDelta(base, hex('0a ffffffffffff03'), 100), { code: 'too-large' })
})

t.test('a delta that is cut off is refused at every length', async (t) => {
  const delta = hex('0a 0e 91 03 04 06 757677787879 91 02 02 02 6162')
  t.equal(applyDelta(base, delta, 100).toString(), '3456uvwxxy23ab')
  for (let length = 0; length < delta.length; length++) t.throws(() => applyDelta(base, delta.subarray(0, length), 100), { code: 'bad-pack' })
})
