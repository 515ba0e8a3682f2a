import { deflateSync } from 'node:zlib'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { encodeEntryHeader } from '../../../protocol/pack/entry.js'
import { encodeIndexFile } from '../../../protocol/pack/index-file.js'
import {
  blob,
  commitOf,
  indexedByGit,
  indexPack,
  insertDelta,
  nameOf,
  packOf,
  resealed,
  sealed,
  sha1,
  sizeVarint,
  treeOf,
  type Entry,
} from '../../support/packs.js'

// A pack of everything in few bytes: whole, OFS and REF deltas, all four types.
const small = (() => {
  const text = blob('some text that is long enough to be the base of a delta\n')
  const longer = blob(`${text.data.toString()}and more`)
  const tree = treeOf(['100644', 'a', nameOf(text)], ['100644', 'b', nameOf(longer)])
  const commit = commitOf(nameOf(tree))
  const tag: Entry = {
    type: 4,
    data: Buffer.from(`object ${nameOf(commit)}\ntype commit\ntag v1\ntagger A U Thor <author@example.com> 1700000000 +0000\n\nv1\n`),
  }
  const copyAll = Buffer.concat([
    sizeVarint(text.data.length),
    sizeVarint(longer.data.length),
    Buffer.from([0x90, text.data.length, 8]),
    Buffer.from('and more'),
  ])
  const other = blob('other')
  return packOf([commit, tag, tree, text, { back: 1, delta: copyAll }, { base: nameOf(text), delta: insertDelta(text.data, other.data) }])
})()

t.test('the small pack is as git sees it', async (t) => {
  const { index } = indexPack(small)
  t.ok(encodeIndexFile(index).equals((await indexedByGit(small)).idx))
  t.equal(index.count, 6)
})

t.test('a pack that is cut off is refused at every length, and one with something behind it', async (t) => {
  const lengths = Array.from({ length: small.length }, (_, length) => length)
  t.same(
    lengths.filter((length) => !refuses(small.subarray(0, length))),
    [],
  )
  for (const length of lengths.slice(12, -20)) {
    t.throws(() => indexPack(sealed(small.subarray(0, length))), { code: 'bad-pack', message: /pack ends early/ }, `sealed at ${length}`)
  }
  t.throws(() => indexPack(Buffer.concat([small, Buffer.from('x')])), {
    code: 'bad-pack',
    message: 'pack has 1 bytes after the last of its 6 objects',
  })
  const longer = sealed(Buffer.concat([small.subarray(0, -20), Buffer.alloc(30)]))
  t.throws(() => indexPack(longer), { code: 'bad-pack', message: 'pack has 30 bytes after the last of its 6 objects' })
})

t.test('no flipped bit passes, and with a trailer to match git reads the same of it', async (t) => {
  const truth = indexPack(small).index
  const passed: number[] = []
  const others: Buffer[] = []
  for (let bit = 0; bit < small.length * 8; bit++) {
    const pack = Buffer.from(small)
    pack[bit >> 3]! ^= 1 << (bit & 7)
    if (!refuses(pack)) passed.push(bit)
    const matching = resealed(pack)
    if (bit >= (small.length - 20) * 8 || refuses(matching)) continue
    if (Buffer.compare(indexPack(matching).index.oids, truth.oids) !== 0) others.push(matching)
  }
  t.same(passed, [])
  // A commit or tree that now says it is a blob is one, to git as well. All other bits that nobody checks (version 3, padding) change no object.
  t.equal(others.length, 2)
  for (const pack of others) t.ok(encodeIndexFile(indexPack(pack).index).equals((await indexedByGit(pack)).idx))
})

function refuses(pack: Buffer): boolean {
  try {
    indexPack(pack)
    return false
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return true
  }
}

t.test('counts that lie are refused, impossible ones before anything is allocated', async (t) => {
  const one = blob('one')
  t.throws(() => indexPack(packOf([one], 2)), { code: 'bad-pack', message: /^pack ends early/ })
  t.throws(() => indexPack(packOf([one], 0)), { code: 'bad-pack', message: 'pack has 12 bytes after the last of its 0 objects' })
  t.throws(() => indexPack(packOf([one], 99_999)), { code: 'bad-pack', message: 'pack ends early: 44 bytes are too few for its 99999 objects' })
  t.throws(() => indexPack(packOf([one], 2 ** 32 - 1)), { code: 'too-large', message: 'pack of 4294967295 objects is over the limit of 100000' })
  const long = blob('x'.repeat(50) + sha1(Buffer.from('y')).toString('hex'))
  t.throws(() => indexPack(packOf([long], 2)), { code: 'bad-pack', message: 'object 2 of 2: pack ends early' })
})

t.test('what is no pack is refused', async (t) => {
  t.throws(() => indexPack(Buffer.from('PAKC'.padEnd(32, '\0'))), { code: 'bad-pack', message: 'this is not a pack' })
  t.throws(() => indexPack(resealed(Buffer.from('PACK\0\0\0\x04'.padEnd(32, '\0'), 'latin1'))), {
    code: 'bad-pack',
    message: 'pack version 4 is not supported',
  })
  const wrong = Buffer.from(small)
  wrong[wrong.length - 1]! ^= 1
  t.throws(() => indexPack(wrong), { code: 'bad-pack', message: 'pack trailer does not match its content' })
})

t.test('sizes that lie are refused with the place of the object', async (t) => {
  const lying = (size: number): Buffer => {
    const honest = packOf([blob('one'), blob('0123456789')])
    const at = honest.length - 20 - deflateSync(Buffer.from('0123456789')).length - 1
    const pack = Buffer.from(honest)
    pack[at] = 0x30 | size
    return resealed(pack)
  }
  t.throws(() => indexPack(lying(9)), { code: 'bad-pack', message: 'object 2 of 2: inflates to more than the 9 bytes it states' })
  t.throws(() => indexPack(lying(11)), { code: 'bad-pack', message: 'object 2 of 2: inflates to 10 bytes and not the 11 it states' })
  const base = blob('base')
  const wrongBase = insertDelta(Buffer.from('other base'), Buffer.from('result'))
  t.throws(() => indexPack(packOf([base, { back: 1, delta: wrongBase }])), {
    code: 'bad-pack',
    message: 'object 2 of 2: delta wants a base of 10 bytes, and it has 4',
  })
})

t.test('a delta of the middle of an object is refused', async (t) => {
  const base = blob('0123456789')
  const pack = packOf([base, { back: 1, delta: insertDelta(base.data, Buffer.from('result')) }])
  const at = 12 + encodeEntryHeader(3, 10).length + deflateSync(base.data).length + 1
  const moved = Buffer.from(pack)
  moved[at]! -= 1
  t.throws(() => indexPack(resealed(moved)), { code: 'bad-pack', message: 'object 2 of 2: is a delta of byte 13, where no object begins' })
})

t.test('an object that is there twice is refused, whole or made by a delta', async (t) => {
  const [one, two] = [blob('one'), blob('two')]
  t.throws(() => indexPack(packOf([one, two, one])), { code: 'bad-pack', message: `object ${nameOf(one)} is in the pack twice` })
  t.throws(() => indexPack(packOf([one, two, { back: 1, delta: insertDelta(two.data, one.data) }])), { code: 'bad-pack', message: /twice/ })
})

t.test('deltas in a circle are refused', async (t) => {
  const [one, two] = [blob('one'), blob('two')]
  const circle = packOf([
    { base: nameOf(two), delta: insertDelta(two.data, one.data) },
    { base: nameOf(one), delta: insertDelta(one.data, two.data) },
  ])
  t.throws(() => indexPack(circle), { code: 'bad-pack', message: `object 1 of 2 is a delta of ${nameOf(two)}, which is not to be had` })
  t.throws(() => indexPack(packOf([{ base: nameOf(one), delta: insertDelta(one.data, one.data) }])), { code: 'bad-pack' })
  // Broken open from outside it is one object too many.
  t.throws(() => indexPack(circle, { bases: new Map([[nameOf(one), one]]) }), {
    code: 'bad-pack',
    message: `object ${nameOf(one)} is in the pack twice`,
  })
})

t.test('long chains of deltas are resolved, up to the limit', async (t) => {
  const chain = (length: number): Buffer => {
    const entries: Entry[] = [blob('version 0')]
    for (let i = 1; i <= length; i++) entries.push({ back: 1, delta: insertDelta(Buffer.from(`version ${i - 1}`), Buffer.from(`version ${i}`)) })
    return packOf(entries)
  }
  t.equal(indexPack(chain(4095)).index.count, 4096)
  t.throws(() => indexPack(chain(11), { limits: { maxDeltaDepth: 10 } }), {
    code: 'too-large',
    message: 'object 12 of 12: ends a chain of more than 10 deltas',
  })
})

t.test('bombs are put out: of zlib, of deltas, of chains that must be derived again and again', async (t) => {
  const zeros = (megabytes: number, first = 0): Entry => {
    const data = Buffer.alloc(megabytes * 2 ** 20)
    data[0] = first
    return { type: 3, data }
  }
  t.throws(() => indexPack(packOf([zeros(65)])), { code: 'too-large', message: 'object 1 of 1: the pack inflates to more than 1000 times its size' })
  t.throws(() => indexPack(packOf([zeros(2)]), { limits: { maxObjectBytes: 2 ** 20 } }), {
    code: 'too-large',
    message: 'object 1 of 1: blob of 2097152 bytes is over the limit of 1048576',
  })
  t.throws(() => indexPack(packOf([zeros(1), zeros(1, 1), zeros(1, 2)]), { limits: { maxInflatedBytes: 2 ** 21 } }), {
    code: 'too-large',
    message: 'object 3 of 3: the pack inflates to more than 2097152 bytes',
  })

  // Each delta doubles: copy all, twice.
  const bomb: Entry[] = [zeros(1)]
  for (let size = 2 ** 20; size < 2 ** 40; size *= 2) {
    const copies = Array.from({ length: 32 }, () => Buffer.from([0xd0 | 0x20, 0, 0, 1]))
    bomb.push({ back: 1, delta: Buffer.concat([sizeVarint(size), sizeVarint(size * 2), ...copies]) })
  }
  t.throws(() => indexPack(packOf(bomb)), { code: 'too-large', message: /^object \d+ of 21: object of \d+ bytes is over the limit of 104857600$/ })

  // A megabyte made anew by each of many small deltas, each with a sibling, and nothing may be kept.
  const chain: Entry[] = [zeros(1)]
  const step = (tag: number): Buffer =>
    Buffer.concat([
      sizeVarint(2 ** 20),
      sizeVarint(2 ** 20),
      Buffer.from([2, tag & 255, tag >> 8]),
      Buffer.from([0xb1, 2, 0xfe, 0xff]),
      ...Array.from({ length: 15 }, (_, i) => Buffer.from([0xc4, i + 1, 1])),
    ])
  for (let i = 0; i < 30; i++) chain.push({ back: i === 0 ? 1 : 2, delta: step(2 * i + 1) }, { back: i === 0 ? 2 : 3, delta: step(2 * i + 2) })
  t.equal(indexPack(packOf(chain)).index.count, 61)
  t.throws(() => indexPack(packOf(chain), { limits: { cacheBytes: 0, maxInflatedBytes: 100 * 2 ** 20 } }), {
    code: 'too-large',
    message: /inflates to more than/,
  })
})

t.test('a stream padded with empty blocks is refused before it is read to its end', async (t) => {
  const stream = deflateSync(Buffer.from('0123456789'), { level: 0 })
  const padding = Buffer.alloc(5 * 2 ** 20)
  for (let at = 0; at < padding.length; at += 5) padding.writeUInt16LE(0xffff, at + 3)
  const entry = Buffer.concat([encodeEntryHeader(3, 10), stream.subarray(0, 2), padding, stream.subarray(2)])
  const header = packOf([blob('x')]).subarray(0, 12)
  t.throws(() => indexPack(sealed(Buffer.concat([header, entry]))), {
    code: 'bad-pack',
    message: 'object 1 of 1: takes far more than the 10 bytes it inflates to',
  })
})

t.test('commits, trees and tags have a lower limit than blobs, also when made by deltas', async (t) => {
  const text = blob('a blob of more than a hundred bytes '.repeat(4))
  const tree = treeOf(...Array.from({ length: 4 }, (_, i): [string, string, string] => ['100644', String(i), nameOf(text)]))
  const options = { limits: { maxStructureBytes: 100 } }
  t.equal(indexPack(packOf([text]), options).index.count, 1)
  t.throws(() => indexPack(packOf([text, tree]), options), {
    code: 'too-large',
    message: 'object 2 of 2: tree of 116 bytes is over the limit of 100',
  })
  const empty = treeOf()
  const made = packOf([empty, { back: 1, delta: insertDelta(empty.data, tree.data) }])
  t.throws(() => indexPack(made, options), { code: 'too-large', message: 'object 2 of 2: tree of 116 bytes is over the limit of 100' })
})

t.test('an object in bad shape is refused by its name', async (t) => {
  const tree = treeOf(['100644', '..', nameOf(blob('x'))])
  t.throws(() => indexPack(packOf([blob('x'), tree])), { code: 'bad-object', message: new RegExp(`^tree ${nameOf(tree)}: `) })
})
