import { deflateSync } from 'node:zlib'
import t from 'tap'
import { decodeEntryHeader, deflatedBound, encodeEntryHeader, encodeOfsDistance, inflateEntry, type EntryType } from '../../../protocol/pack/entry.js'

t.test('type and size are written as git writes them', async (t) => {
  const cases: readonly [EntryType, number, string][] = [
    [1, 0, '10'],
    [3, 15, '3f'],
    [3, 16, 'b001'],
    [2, 2047, 'af7f'],
    [2, 2048, 'a08001'],
    [6, 300, 'ec12'],
    [4, 2 ** 32, 'c08080808001'],
  ]
  for (const [type, size, hex] of cases) {
    const bytes = encodeEntryHeader(type, size)
    t.equal(bytes.toString('hex'), hex, `${type} ${size}`)
    if (type < 6) t.match(decodeEntryHeader(bytes, 0, 12), { type, size, headerBytes: bytes.length })
  }
  t.match(decodeEntryHeader(encodeEntryHeader(3, 2 ** 52 + 12345), 0, 12), { size: 2 ** 52 + 12345 })
})

t.test('a distance back to the base is written as git writes it, adding one a byte', async (t) => {
  const cases: readonly [number, string][] = [
    [1, '01'],
    [127, '7f'],
    [128, '8000'],
    [16511, 'ff7f'],
    [16512, '808000'],
    [2 ** 33, '9efefeff00'],
  ]
  for (const [distance, hex] of cases) {
    const bytes = encodeOfsDistance(distance)
    t.equal(bytes.toString('hex'), hex, String(distance))
    const entry = Buffer.concat([encodeEntryHeader(6, 300), bytes])
    t.match(decodeEntryHeader(entry, 0, 2 ** 34), { type: 6, size: 300, headerBytes: entry.length, baseOffset: 2 ** 34 - distance })
  }
})

t.test('a delta by name carries the name', async (t) => {
  const name = Buffer.from('0123456789abcdef0123456789abcdef01234567', 'hex')
  const header = decodeEntryHeader(Buffer.concat([Buffer.from('zz'), encodeEntryHeader(7, 40), name]), 2, 500)
  t.match(header, { type: 7, size: 40, headerBytes: 22 })
  t.same(Buffer.from(header!.baseOid!), name)
})

t.test('a header that is cut off asks for more, at every length', async (t) => {
  const headers = [
    encodeEntryHeader(3, 2 ** 40),
    Buffer.concat([encodeEntryHeader(6, 5000), encodeOfsDistance(2 ** 30)]),
    Buffer.concat([encodeEntryHeader(7, 5000), Buffer.alloc(20, 7)]),
  ]
  for (const header of headers) {
    for (let length = 0; length < header.length; length++) t.equal(decodeEntryHeader(header.subarray(0, length), 0, 2 ** 40), undefined)
    t.ok(decodeEntryHeader(header, 0, 2 ** 40))
  }
})

t.test('headers that cannot be are refused', async (t) => {
  const cases: readonly [hex: string, entryOffset: number, message: string][] = [
    ['00', 12, 'there is no entry type 0'],
    ['5f', 12, 'there is no entry type 5'],
    [`b0${'80'.repeat(9)}01`, 12, 'states an impossible size'],
    ['6500', 100, 'is a delta of something outside the pack'],
    ['6501', 12, 'is a delta of something outside the pack'],
    ['657f', 100, 'is a delta of something outside the pack'],
    [`65${'ff'.repeat(20)}`, 100, 'is a delta of something outside the pack'],
  ]
  for (const [hex, offset, message] of cases) t.throws(() => decodeEntryHeader(Buffer.from(hex, 'hex'), 0, offset), { code: 'bad-pack', message })
})

t.test('a stream is inflated to its stated size, and says where it ended', async (t) => {
  for (const size of [0, 1, 63, 64, 65, 1000, 100_000]) {
    const data = Buffer.alloc(size, 'cairn ')
    for (const level of [0, 6]) {
      const stream = deflateSync(data, { level })
      const window = Buffer.concat([Buffer.from('before'), stream, Buffer.from('behind, however much of it')])
      t.same(inflateEntry(window, 6, size), { data, consumed: stream.length })
      t.ok(stream.length <= deflatedBound(size))
    }
  }
})

t.test('a stream that is cut off asks for more, at every length', async (t) => {
  const stream = deflateSync(Buffer.from('a stream of some bytes, not all the same'))
  for (let length = 0; length < stream.length; length++) t.equal(inflateEntry(stream.subarray(0, length), 0, 40), undefined)
})

t.test('a stream of any other size is refused, and what is no stream', async (t) => {
  const stream = deflateSync(Buffer.from('0123456789'))
  t.throws(() => inflateEntry(stream, 0, 9), { code: 'bad-pack', message: 'inflates to more than the 9 bytes it states' })
  t.throws(() => inflateEntry(stream, 0, 8), { code: 'bad-pack', message: 'inflates to more than the 8 bytes it states' })
  t.throws(() => inflateEntry(stream, 0, 0), { code: 'bad-pack', message: 'inflates to more than the 0 bytes it states' })
  t.throws(() => inflateEntry(stream, 0, 11), { code: 'bad-pack', message: 'inflates to 10 bytes and not the 11 it states' })
  t.throws(() => inflateEntry(deflateSync(Buffer.alloc(20_000_000)), 0, 100), { code: 'bad-pack' })
  t.throws(() => inflateEntry(Buffer.from('no stream at all'), 0, 10), { code: 'bad-pack', message: 'does not inflate' })
  t.throws(() => inflateEntry(deflateSync(Buffer.from('abcabc'), { dictionary: Buffer.from('abc') }), 0, 6), { code: 'bad-pack' })
  const damaged = Buffer.from(stream)
  damaged[damaged.length - 1]! ^= 1
  t.throws(() => inflateEntry(damaged, 0, 10), { code: 'bad-pack', message: 'does not inflate' })
})
