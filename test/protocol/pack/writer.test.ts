import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import { answerPack } from '../../../protocol/pack/writer.js'
import { entryAt, type Progress } from '../../../protocol/ports.js'
import type { Oid, Ref } from '../../../protocol/types.js'
import { answer, oidIn } from '../../support/fetches.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { altered, memoryPack, packView, refsIn, type MemoryPack } from '../../support/pack-view.js'
import { blob, commitOf, hexes, indexPack, insertDelta, nameOf, packOf, treeOf } from '../../support/packs.js'
import { noSlices, oidOf, refOf } from '../../support/wire.js'

const dir = t.testdir()
const origin = join(dir, 'origin')
let refs: Ref[] = []

async function emptyRepository(name: string): Promise<string> {
  const bare = join(dir, name)
  mkdirSync(bare)
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  return bare
}

async function packed(args: readonly string[], input: string): Promise<MemoryPack> {
  const { stdout } = await git(['pack-objects', '-q', '--stdout', ...args], { cwd: origin, input: Buffer.from(input) })
  return memoryPack(stdout)
}

const tips = (): Oid[] => [...new Set(refs.map(({ oid }) => oid))]

t.before(async () => {
  await emptyRepository('origin')
  await importHistory(origin, 600)
  await git(['tag', '-m', 'of a tag', 'nested', 'v500'], { cwd: origin })
  await git(['tag', '-m', 'of a tree', 'tree', 'main^{tree}'], { cwd: origin })
  await git(['repack', '-a', '-d', '-f', '-q', '--no-write-bitmap-index'], { cwd: origin })
  refs = await refsIn(origin)
})

t.test('deltas are copied, not made whole', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const deltasIn = (pack: Buffer): number => indexPack(pack).index.bases.filter((base) => base !== -1).length
  const stored = view.entries().filter((entry) => view.baseOf(entry) !== -1).length
  const wants = tips()
  t.ok(stored > 1000)
  t.equal(deltasIn(await answer(view, { wants })), stored)
  t.equal(deltasIn(await answer(view, { wants, ofsDelta: false })), stored)
})

t.test('a delta of what the client has goes as it is in a thin pack, else whole', async (t) => {
  const [old, changed] = [blob('line of text\n'.repeat(50)), blob('line of other text\n'.repeat(50))]
  const [oldTree, newTree] = [treeOf(['100644', 'file', nameOf(old)]), treeOf(['100644', 'file', nameOf(changed)])]
  const first = commitOf(nameOf(oldTree))
  const second = commitOf(nameOf(newTree), nameOf(first))
  const view = packView([memoryPack(packOf([second, first, newTree, oldTree, old, { back: 1, delta: insertDelta(old.data, changed.data) }]))])
  const request = { wants: [nameOf(second) as Oid], haves: [nameOf(first) as Oid] }
  const whole = indexPack(await answer(view, request)).index
  t.same([...whole.bases], [-1, -1, -1])
  for (const ofsDelta of [true, false]) {
    const thin = await answer(view, { ...request, ofsDelta, thinPack: true })
    const { index, indexer } = indexPack(thin, { bases: new Map([[nameOf(old), old]]) })
    t.same([thin.readUInt32BE(8), indexer.addedBases, [...index.bases]], [3, 1, [-1, -1, 3, -1]])
  }
  const all = indexPack(await answer(view, { wants: request.wants, ofsDelta: false })).index
  t.same([...all.types], [1, 1, 2, 2, 3, 0x83], 'a base that is sent is named too when offsets are not understood')
})

t.test('commits go first, newest first, then tags, trees, blobs', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const pack = await answer(view, { wants: tips() })
  const { index } = indexPack(pack)
  const order = [1, 4, 2, 3]
  const types = [...index.types].map((type) => order.indexOf(type & 7))
  t.same(
    types,
    types.toSorted((a, b) => a - b),
  )
  t.equal(Buffer.from(index.oids.subarray(0, 20)).toString('hex'), await oidIn(origin, 'main'))
})

t.test('tags go along with what they name', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const [main, v500, nested] = await Promise.all(['main', 'v500', 'nested'].map((name) => oidIn(origin, name)))
  const namesIn = (pack: Buffer): Set<string> => {
    const { oids, count } = indexPack(pack).index
    return new Set(Array.from({ length: count }, (_, i) => Buffer.from(oids.subarray(i * 20, i * 20 + 20)).toString('hex')))
  }
  const without = namesIn(await answer(view, { wants: [main!] }))
  t.same([without.has(v500!), without.has(nested!)], [false, false])
  const withTags = namesIn(await answer(view, { wants: [main!], includeTag: true }))
  t.same([withTags.has(v500!), withTags.has(nested!)], [true, true], 'and the tags in between')
  t.equal(withTags.size, without.size + 3, 'a tag of the tree that is sent is one more')
  const later = namesIn(await answer(view, { wants: [main!], haves: [await oidIn(origin, 'main~1')], includeTag: true }))
  t.same([later.has(v500!), later.has(nested!)], [false, false], 'not with what is had')
})

t.test('nothing is left to send when all is had', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const main = await oidIn(origin, 'main')
  const nothing = '5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e'
  t.equal((await answer(view, { wants: [main], haves: [main] })).toString('hex'), nothing)
  t.equal((await answer(view, { wants: [await oidIn(origin, 'main~3')], haves: [main] })).toString('hex'), nothing)
  const nested = await oidIn(origin, 'nested')
  t.equal((await answer(view, { wants: [nested, await oidIn(origin, 'v500')], haves: [nested] })).toString('hex'), nothing)
  const tree = await oidIn(origin, 'main^{tree}')
  t.equal((await answer(view, { wants: [tree, await oidIn(origin, 'main:src')], haves: [tree] })).toString('hex'), nothing, 'a tree')
})

t.test('a want twice, and haves nobody knows, change nothing', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const main = await oidIn(origin, 'main')
  const haves = [await oidIn(origin, 'main~5')]
  const plain = await answer(view, { wants: [main], haves })
  t.ok(plain.equals(await answer(view, { wants: [main, main], haves: [...haves, oidOf('7'), ...haves] })))
})

t.test('copies that lean on each other do not go round in circles', async (t) => {
  const a = Buffer.from('the one thing\n'.repeat(20))
  const b = Buffer.from('the other thing\n'.repeat(20))
  const [nameA, nameB] = [nameOf({ type: 3, data: a }), nameOf({ type: 3, data: b })]
  const tree = treeOf(['100644', 'a', nameA], ['100644', 'b', nameB])
  const commit = commitOf(nameOf(tree))
  const delta = (from: Buffer, to: Buffer) => ({ back: 1, delta: insertDelta(from, to) })
  const both = packView([
    memoryPack(packOf([commit, tree, { type: 3, data: a }, delta(a, b)])),
    memoryPack(packOf([commit, tree, { type: 3, data: b }, delta(b, a)])),
  ])
  // Each of the two is found where it is a delta of the other.
  const [entryA, entryB] = [entryAt(1, 3), entryAt(0, 3)]
  const view = altered(both, {
    find: (oid, use) =>
      Buffer.from(oid).toString('hex') === nameA ? entryA : Buffer.from(oid).toString('hex') === nameB ? entryB : both.find(oid, use),
  })
  for (const ofsDelta of [true, false]) {
    const { index } = indexPack(await answer(view, { wants: [nameOf(commit) as Oid], ofsDelta }))
    t.same(
      [...index.bases].toSorted((a, b) => a - b),
      [-1, -1, -1, 2],
    )
  }
})

t.test('objects larger than any buffer go through in reused chunks', async (t) => {
  const large = { type: 3 as const, data: randomBytes(1_500_000) }
  const small = blob('small')
  const tree = treeOf(['100644', 'large', nameOf(large)], ['100644', 'small', nameOf(small)])
  const view = packView([memoryPack(packOf([tree, large, small]))])
  const request = { wants: [nameOf(tree) as Oid], haves: [], thinPack: false, ofsDelta: true, includeTag: false }
  const buffers = new Set<ArrayBufferLike>()
  for await (const chunk of answerPack(view, request, { slices: noSlices })) {
    t.ok(chunk.length <= 256 * 1024)
    if (chunk.length > 20) buffers.add(chunk.buffer)
  }
  t.equal(buffers.size, 1)
  const { index } = indexPack(await answer(view, request))
  t.same([...index.sizes], [tree.data.length, 1_500_000, 5])
})

t.test('a large object that must go whole is compressed anew', async (t) => {
  const old = { type: 3 as const, data: randomBytes(700_000) }
  const changed = { type: 3 as const, data: Buffer.concat([old.data, randomBytes(100_000)]) }
  const tree = treeOf(['100644', 'file', nameOf(changed)])
  const view = packView([memoryPack(packOf([tree, old, { back: 1, delta: insertDelta(old.data, changed.data) }]))])
  const { index } = indexPack(await answer(view, { wants: [nameOf(tree) as Oid] }))
  t.same(
    [[...index.bases], hexes(index.oids)],
    [
      [-1, -1],
      [nameOf(tree), nameOf(changed)],
    ],
  )
})

t.test('progress counts up to what is sent', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const said: Progress[] = []
  const pack = await answer(view, { wants: tips() }, { onProgress: (progress) => said.push(progress) })
  const count = pack.readUInt32BE(8)
  const walking = said.filter(({ title }) => title === 'Enumerating objects').map(({ done }) => done)
  t.ok(walking.length > 2)
  t.equal(walking.at(-1), count)
  t.same(
    said.slice(-2).map(({ title, done, total }) => [title, done, total]),
    [
      ['Enumerating objects', count, 0],
      ['Counting objects', count, count],
    ],
  )
})

t.test('a client that leaves ends the work, wherever it is', async (t) => {
  const view = packView([await packed(['--revs', '--all', '--delta-base-offset'], '')], refs)
  const wants = tips()
  const stopAfter = (steps: number) => {
    let left = steps
    return {
      pause() {
        if (--left < 0) throw new ProtocolError('cancelled', 'the client left')
        return left % 3 === 0 ? Promise.resolve() : undefined
      },
    }
  }
  let most = 0
  await answer(view, { wants }, { slices: { pause: () => void most++ } })
  t.ok(most > 3000, `${most} chances to stop`)
  for (const steps of [0, 1, 50, Math.floor(most / 4), Math.floor(most / 2), most - 1]) {
    await t.rejects(answer(view, { wants }, { slices: stopAfter(steps) }), { code: 'cancelled' }, `after ${steps} steps`)
  }
  t.equal((await answer(view, { wants }, { slices: stopAfter(most) })).readUInt32BE(8), view.entries().length)
})

t.test('what is missing or stored wrong is our fault, and said before bytes go out under its name', async (t) => {
  const file = blob('text of the file\n'.repeat(10))
  const next = Buffer.from('text of the next file\n'.repeat(10))
  const nextName = nameOf({ type: 3, data: next })
  const tree = treeOf(['100644', 'file', nameOf(file)], ['100644', 'next', nextName])
  const commit = commitOf(nameOf(tree), oidOf('5'))
  const root = commitOf(nameOf(tree))
  const pack = memoryPack(packOf([commit, root, tree, file, { back: 1, delta: insertDelta(file.data, next) }]))
  const view = packView([pack])
  const wants = [nameOf(root) as Oid]
  t.equal((await answer(view, { wants })).readUInt32BE(8), 4)

  const lacking = (oid: string) => altered(view, { find: (name, use) => (Buffer.from(name).toString('hex') === oid ? -1 : view.find(name, use)) })
  const refuses = (changed: typeof view | ReturnType<typeof altered>, message: RegExp, request: { wants: Oid[] } = { wants }) =>
    t.rejects(answer(changed, request), { name: 'ProtocolError', code: 'corrupt', message })
  await refuses(view, /^object 5{40} is missing$/, { wants: [nameOf(commit) as Oid] })
  await refuses(view, /^object 6{40} is missing$/, { wants: [oidOf('6')] })
  await refuses(lacking(nameOf(tree)), /^the tree of commit \w{40} is missing$/)
  await refuses(lacking(nameOf(file)), new RegExp(`^object ${nameOf(file)} is missing$`))
  const typed = (entry: number, type: 1 | 2 | 3 | 4) => altered(view, { typeOf: (of) => (of === entry ? type : view.typeOf(of)) })
  await refuses(typed(view.named(nameOf(tree)), 3), /^object \w{40} is not a tree$/)
  await refuses(typed(view.named(nameOf(file)), 2), /^object \w{40} is not a blob$/)

  const otherwise = /is stored as something else than its table says$/
  await refuses(altered(view, { sizeOf: (entry) => (entry === 3 ? 7 : view.sizeOf(entry)) }), otherwise)
  await refuses(altered(view, { baseOf: (entry) => (entry === 4 ? 2 : view.baseOf(entry)) }), otherwise)
  await refuses(altered(view, { baseOf: () => -1 }), otherwise)
  await refuses(altered(view, { baseOf: (entry) => (entry === 3 ? 2 : view.baseOf(entry)) }), otherwise)

  const spoilt = Buffer.from(pack.bytes)
  spoilt[view.offsetOf(3)] = 0x50
  await refuses(packView([{ ...pack, bytes: spoilt }]), /there is no entry type 5$/)
  const cut = { ...pack, bytes: pack.bytes.subarray(0, view.offsetOf(4) + 4) }
  await refuses(packView([cut]), /is cut off$/)
})

t.test('a ref delta whose table names another base is not passed on', async (t) => {
  const [one, two] = [blob('one '.repeat(30)), blob('two '.repeat(30))]
  const target = Buffer.from('three '.repeat(30))
  const tree = treeOf(['100644', 'a', nameOf(one)], ['100644', 'b', nameOf(two)], ['100644', 'c', nameOf({ type: 3, data: target })])
  const view = packView([memoryPack(packOf([tree, one, two, { base: nameOf(one), delta: insertDelta(one.data, target) }]))])
  const wants = [nameOf(tree) as Oid]
  t.equal((await answer(view, { wants })).readUInt32BE(8), 4)
  await t.rejects(answer(altered(view, { baseOf: (entry) => (entry === 3 ? 2 : view.baseOf(entry)) }), { wants }), { code: 'corrupt' })
})

t.test('a tag that names nothing is corrupt', async (t) => {
  const tag = { type: 4 as const, data: Buffer.from(`object ${'5'.repeat(39)}\ntype commit\n`) }
  const view = packView([memoryPack(packOf([blob('x')]))], [refOf('refs/tags/x', nameOf(blob('x')) as Oid)])
  const other = packView([{ ...memoryPack(packOf([blob(tag.data.toString('latin1'))])) }])
  const asTag = altered(other, { typeOf: () => 4 })
  await t.rejects(answer(asTag, { wants: [nameOf(blob(tag.data.toString('latin1'))) as Oid] }), { code: 'corrupt' })
  t.equal((await answer(view, { wants: [nameOf(blob('x')) as Oid], includeTag: true })).readUInt32BE(8), 1)
})
