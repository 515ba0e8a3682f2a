import { constants, deflateSync, inflateSync } from 'node:zlib'
import t from 'tap'
import { inflateSimple, maxSimpleBytes } from '../../../protocol/pack/simple-inflate.js'

const inflated = (stream: Uint8Array, size: number, end = stream.length): { consumed: number; data: Buffer } => {
  const out = Buffer.alloc(maxSimpleBytes)
  const consumed = inflateSimple(stream, 0, end, size, out)
  return { consumed, data: out.subarray(0, size) }
}

const fixed = (data: Uint8Array, level = 6): Buffer => deflateSync(data, { strategy: constants.Z_FIXED, level })
const stored = (data: Uint8Array): Buffer => deflateSync(data, { level: 0 })

/** The same numbers every time. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function sample(random: (below: number) => number): Buffer {
  const size = random(10) === 0 ? random(maxSimpleBytes + 1) : random(300)
  const letters = 1 + random(255)
  const data = Buffer.from(Array.from({ length: size }, () => random(letters)))
  // Copies, near and far, so that lengths and distances of all kinds come up.
  for (let i = random(6); i > 0 && size > 1; i--) data.copy(data, random(size), random(size), random(size))
  return data
}

t.test('literal streams', async (t) => {
  const hello = Buffer.from('789ccb48cdc9c90700062c0215', 'hex')
  t.same(inflated(hello, 5), { consumed: 13, data: Buffer.from('hello') })
  const empty = Buffer.from('789c030000000001', 'hex')
  t.same(inflated(empty, 0), { consumed: 8, data: Buffer.alloc(0) })
  const storedAb = Buffer.from('7801010200fdff6162012600c4', 'hex')
  t.same(inflated(storedAb, 2), { consumed: 13, data: Buffer.from('ab') })
})

t.test('what it inflates is what zlib does, to the same byte, whatever comes behind', async (t) => {
  const random = numbers(1)
  let simple = 0
  for (let i = 0; i < 10_000; i++) {
    const data = sample(random)
    const stream = i % 3 === 0 ? stored(data) : i % 3 === 1 ? fixed(data, 1 + random(9)) : deflateSync(data)
    const behind = Buffer.concat([stream, Buffer.from([0x78, 0x9c, 1, 2, 3])])
    const { consumed, data: got } = inflated(behind, data.length)
    if (consumed === 0) continue
    simple += 1
    if (consumed !== stream.length || !got.equals(data)) t.fail('differs', { stream: stream.toString('hex') })
  }
  t.ok(simple > 6_000, `${simple} of them were simple`)
})

t.test('cut at every length, or asked for another size, it is left to zlib', async (t) => {
  const data = Buffer.from('a tree and a tree and a tree and another one, \xff\xfe'.repeat(3), 'latin1')
  for (const stream of [stored(data), fixed(data)]) {
    for (let length = 0; length < stream.length; length++) {
      if (inflated(stream, data.length, length).consumed !== 0) t.fail(`cut at ${length}`)
      if (inflated(stream.subarray(0, length), data.length).consumed !== 0) t.fail(`is ${length} bytes`)
    }
    t.equal(inflated(stream, data.length).consumed, stream.length)
    for (const size of [0, data.length - 1, data.length + 1, maxSimpleBytes, maxSimpleBytes + 1]) t.equal(inflated(stream, size).consumed, 0)
  }
  t.equal(inflated(fixed(Buffer.alloc(maxSimpleBytes)), maxSimpleBytes).consumed > 0, true)
})

t.test('every bit flipped and bytes at random: nothing that zlib refuses is taken, and nothing is taken for another', async (t) => {
  const random = numbers(2)
  const check = (stream: Buffer, size: number): void => {
    const { consumed, data } = inflated(stream, size)
    if (consumed === 0) return
    const { buffer, engine } = inflateSync(stream, { info: true, maxOutputLength: size + 1 }) as unknown as {
      buffer: Buffer
      engine: { bytesWritten: number }
    }
    if (!buffer.equals(data) || engine.bytesWritten !== consumed) t.fail('differs from zlib', { stream: stream.toString('hex'), size })
  }
  const data = Buffer.from('parent 12345678\nparent 12345678\nauthor a <a@b> 1 +0000\n')
  for (const stream of [stored(data), fixed(data)]) {
    for (let bit = 0; bit < stream.length * 8; bit++) {
      const flipped = Buffer.from(stream)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      check(flipped, data.length)
    }
  }
  for (let i = 0; i < 20_000; i++) {
    const good = sample(random)
    const stream = random(2) === 0 ? fixed(good) : stored(good)
    for (let left = 1 + random(3); left > 0; left--) stream[random(stream.length)] = random(256)
    check(stream, random(4) === 0 ? random(maxSimpleBytes) : good.length)
  }
  // The checksum hides most of what is wrong: without it, distances before the beginning, codes that do not exist.
  for (let i = 0; i < 20_000; i++) {
    const stream = Buffer.concat([Buffer.from([0x78, 0x9c, 3 | (random(32) << 3)]), Buffer.from(Array.from({ length: 40 }, () => random(256)))])
    check(stream, random(400))
  }
  t.pass()
})
