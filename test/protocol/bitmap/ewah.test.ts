import t from 'tap'
import { BitSet } from '../../../protocol/bitmap/bit-set.js'
import { andEwah, andNotEwah, orEwah, xorEwah } from '../../../protocol/bitmap/combine.js'
import { encodedBytes, readEwah, writeEwah, type Ewah } from '../../../protocol/bitmap/ewah.js'
import { dice, type Dice } from '../../support/dice.js'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

function encoded(ewah: Ewah): Buffer {
  const file = Buffer.alloc(encodedBytes(ewah))
  if (writeEwah(file, 0, ewah) !== file.length) throw new Error('it ends elsewhere')
  return file
}

const setOf = (count: number, bits: Iterable<number>): BitSet => {
  const set = new BitSet(count)
  for (const bit of bits) set.set(bit)
  return set
}

const bitsOf = (set: BitSet): number[] => {
  const bits: number[] = []
  set.each((bit) => bits.push(bit))
  return bits
}

const unpacked = (ewah: Ewah, count: number): number[] => {
  const set = new BitSet(count)
  set.or(ewah)
  return bitsOf(set)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

t.test('bitmaps to the byte', async (t) => {
  const cases: readonly [what: string, bits: number[], hex: string][] = [
    ['nothing', [], '00000000 00000001 0000000000000000 00000000'],
    ['the first bit', [0], '00000040 00000002 0000000200000000 0000000000000001 00000000'],
    ['the last of a word', [63], '00000040 00000002 0000000200000000 8000000000000000 00000000'],
    ['a word', range(0, 64), '00000040 00000001 0000000000000003 00000000'],
    ['a bit after three words of nothing', [192], '00000100 00000002 0000000200000006 0000000000000001 00000000'],
    ['two words, then one apart', [...range(0, 128), 130], '000000c0 00000002 0000000200000005 0000000000000004 00000000'],
    ['zeros, then ones', range(64, 192), '000000c0 00000002 0000000000000002 0000000000000005 00000001'],
    [
      'words, zeros, a word',
      [1, 64, 320],
      '00000180 00000005 0000000400000000 0000000000000002 0000000000000001 0000000200000006 0000000000000001 00000003',
    ],
  ]
  for (const [what, bits, expected] of cases) {
    const file = encoded(setOf(400, bits).toEwah())
    t.equal(file.toString('hex'), hex(expected).toString('hex'), what)
    const { ewah, end } = readEwah(Buffer.concat([Buffer.alloc(3), file, Buffer.alloc(9)]), 3, 400)
    t.equal(end, file.length + 3)
    t.same(unpacked(ewah, 400), bits, what)
  }
})

/** Bits in stretches, so that there are runs of all kinds. */
function randomBits(random: Dice, count: number): number[] {
  const bits: number[] = []
  for (let at = 0; at < count; ) {
    const end = Math.min(count, at + 1 + random(random(3) === 0 ? 700 : 90))
    const kind = random(3)
    for (; at < end; at++) if (kind === 1 || (kind === 2 && random(2) === 0)) bits.push(at)
  }
  return bits
}

t.test('sets keep, count and combine their bits, packed or not', async (t) => {
  const random = dice(4711)
  for (let round = 0; round < 300; round++) {
    const count = random(6000)
    const [a, b] = [randomBits(random, count), randomBits(random, random(4) === 0 ? random(count + 1) : count)]
    const [inA, inB] = [new Set(a), new Set(b)]
    const [packedA, packedB] = [setOf(count, a).toEwah(), setOf(count, b).toEwah()]
    const set = setOf(count, a)
    if (set.size() !== a.length || String(bitsOf(set)) !== String(a)) t.fail(`round ${round}: a set of ${count}`)
    if (String(unpacked(readEwah(encoded(packedA), 0, count).ewah, count)) !== String(a)) t.fail(`round ${round}: packed`)
    const all = range(0, count)
    const cases: readonly [name: string, packed: Ewah, apply: (set: BitSet) => void, expected: number[]][] = [
      ['and', andEwah(packedA, packedB), (set) => set.andSet(setOf(count, b)), all.filter((bit) => inA.has(bit) && inB.has(bit))],
      ['or', orEwah(packedA, packedB), (set) => set.or(packedB), all.filter((bit) => inA.has(bit) || inB.has(bit))],
      ['or of sets', orEwah(packedB, packedA), (set) => set.orSet(setOf(count, b)), all.filter((bit) => inA.has(bit) || inB.has(bit))],
      ['xor', xorEwah(packedA, packedB), (set) => set.xor(packedB), all.filter((bit) => inA.has(bit) !== inB.has(bit))],
      ['and not', andNotEwah(packedA, packedB), (set) => set.andNotSet(setOf(count, b)), all.filter((bit) => inA.has(bit) && !inB.has(bit))],
    ]
    for (const [name, packed, apply, expected] of cases) {
      const changed = setOf(count, a)
      apply(changed)
      if (String(bitsOf(changed)) !== String(expected)) t.fail(`round ${round}: ${name}`)
      // What was combined packed is as what was packed afterwards.
      if (!encoded(packed).equals(encoded(changed.toEwah()))) t.fail(`round ${round}: ${name}, packed`)
    }
  }
  t.pass('300 rounds')
})

t.test('a bitmap that is cut off, or has more bits than objects, is refused', async (t) => {
  const file = encoded(setOf(400, [1, 64, 320, 399]).toEwah())
  for (let length = 0; length < file.length; length++) t.throws(() => readEwah(file.subarray(0, length), 0, 400), { code: 'corrupt' })
  const beyond: readonly [what: string, count: number, hex: string][] = [
    ['a bit', 399, file.toString('hex')],
    ['a bit of the first word', 0, '00000040 00000002 0000000200000000 0000000000000001 00000000'],
    ['a bit of the upper half', 40, '00000040 00000002 0000000200000000 0000010000000000 00000000'],
    ['a run', 127, '00000080 00000001 0000000000000005 00000000'],
    ['a run without end', 400, '00000080 00000001 00000001ffffffff 00000000'],
    ['words behind zeros without end', 400, '00000080 00000002 00000003fffffffe 0000000000000001 00000000'],
    ['words that are not there', 400, '00000080 00000002 0000000600000000 0000000000000001 00000000'],
    ['more words than can be', 400, 'ffffffff ffffffff 0000000600000000 0000000000000001 00000000'],
  ]
  for (const [what, count, text] of beyond) t.throws(() => readEwah(hex(text), 0, count), { code: 'corrupt' }, what)
  t.ok(readEwah(hex('00000080 00000001 00000001fffffffe 00000000'), 0, 400), 'zeros may go on')
})

t.test('whatever the bytes, a bitmap is refused or stays within its objects', async (t) => {
  const random = dice(99)
  let taken = 0
  for (let round = 0; round < 20_000; round++) {
    const file = encoded(setOf(500, randomBits(random, 500)).toEwah())
    for (let k = 0; k <= random(3); k++) file[random(file.length)] = random(256)
    try {
      const { ewah } = readEwah(file, 0, 500)
      if (unpacked(ewah, 500).some((bit) => bit >= 500)) t.fail(`round ${round}`)
      xorEwah(ewah, ewah)
      taken += 1
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'corrupt') throw error
    }
  }
  t.ok(taken > 0 && taken < 20_000, `${taken} were taken`)
})
