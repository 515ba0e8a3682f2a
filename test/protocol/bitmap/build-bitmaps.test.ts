import t from 'tap'
import { indexBitOrder, packBitOrder } from '../../../protocol/bitmap/bit-order.js'
import { BitmapFile } from '../../../protocol/bitmap/bitmap-file.js'
import { buildBitmaps } from '../../../protocol/bitmap/build-bitmaps.js'
import { findReachable } from '../../../protocol/bitmap/find-reachable.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'
import { collectCommits } from '../../../protocol/graph/commit-rows.js'
import { MultiPackIndex } from '../../../protocol/pack/multi-pack-index.js'
import { encodeMultiPackIndex } from '../../../protocol/pack/multi-pack-index-writer.js'
import type { Progress, Slices } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import { bitmapsOf } from '../../support/bitmaps.js'
import { memoryPack, packView, type MemoryPack } from '../../support/pack-view.js'
import { blob, commitOf, nameOf, packOf, treeOf, type Base } from '../../support/packs.js'
import { noSlices } from '../../support/wire.js'

const pack = (...objects: readonly Base[]): MemoryPack => memoryPack(packOf(objects.map(({ type, data }) => ({ type, data: Buffer.from(data) }))))
const orderOf = (packs: readonly MemoryPack[], ordinal: number) => packBitOrder({ ordinal, table: packs[ordinal]!.table }, Buffer.alloc(20))

const file = blob('file')
const tree = treeOf(['100644', 'f', nameOf(file)])
const commit = commitOf(nameOf(tree))
const child = commitOf(nameOf(tree), nameOf(commit))
const tip = nameOf(child)

t.test('all that commits lead to must have a bit', async (t) => {
  for (const left of [file, tree, commit]) {
    const packs = [pack(...[file, tree, commit, child].filter((object) => object !== left)), pack(left)]
    const message = `object ${nameOf(left)} is not among those that bitmaps are made of`
    await t.rejects(bitmapsOf(packView(packs), orderOf(packs, 0), [tip]), { code: 'corrupt', message })
  }
  const without = [pack(tree, commit, child)]
  const message = `object ${nameOf(file)} is missing`
  await t.rejects(bitmapsOf(packView(without), orderOf(without, 0), [tip]), { code: 'corrupt', message })
})

t.test('a tree that is named as a file, and the other way about', async (t) => {
  const cases: readonly [entry: [string, string, string], message: string][] = [
    [['100644', 'f', nameOf(tree)], `object ${nameOf(tree)} is not a blob`],
    [['40000', 'f', nameOf(file)], `object ${nameOf(file)} is not a tree`],
  ]
  for (const [entry, message] of cases) {
    const root = treeOf(entry)
    const odd = commitOf(nameOf(root))
    const packs = [pack(file, tree, root, odd)]
    await t.rejects(bitmapsOf(packView(packs), orderOf(packs, 0), [nameOf(odd)]), { code: 'corrupt', message })
  }
})

t.test('a submodule is not looked for', async (t) => {
  const root = treeOf(['100644', 'f', nameOf(file)], ['160000', 'm', '7'.repeat(40)])
  const with_ = commitOf(nameOf(root))
  const packs = [pack(file, root, with_)]
  const order = orderOf(packs, 0)
  const bitmaps = BitmapFile.open(await bitmapsOf(packView(packs), order, [nameOf(with_)]), order)
  t.equal(bitmaps.reachableFrom(2)?.size(), 3)
})

t.test('it can be cancelled, says how far it is, and has a limit', async (t) => {
  const packs = [pack(file, tree, commit, child)]
  const view = packView(packs)
  const graph = CommitGraph.open(encodeCommitGraph(await collectCommits(view, [tip as Oid], { slices: noSlices })))
  const request = { view, order: orderOf(packs, 0), graph, tips: [] }
  const seen: Progress[] = []
  await buildBitmaps(request, { slices: noSlices, onProgress: (progress) => seen.push(progress) })
  t.same(seen, [
    { title: 'Building bitmaps', done: 1, total: 2 },
    { title: 'Building bitmaps', done: 2, total: 2 },
  ])
  const tooMany = buildBitmaps({ ...request, maxBitmapBytes: 31 }, { slices: noSlices })
  await t.rejects(tooMany, { code: 'too-large', message: 'bitmaps are over the limit of 31 bytes' })
  const left: Slices = {
    pause: () => {
      throw new ProtocolError('cancelled', 'the client left')
    },
  }
  await t.rejects(buildBitmaps(request, { slices: left }), { code: 'cancelled' })
  await t.rejects(collectCommits(view, [tip as Oid], { slices: left }), { code: 'cancelled' })
  const bitmaps = BitmapFile.open(await buildBitmaps(request, { slices: noSlices }), request.order)
  const younger = commitOf(nameOf(tree), tip)
  const both = packView([...packs, pack(younger)])
  const query = { view: both, order: request.order, bitmaps, wants: [nameOf(younger) as Oid], haves: [] }
  await t.rejects(findReachable(query, { slices: left }), { code: 'cancelled' })
  t.equal((await findReachable(query, { slices: noSlices })).size(), 5)
  await t.rejects(findReachable({ ...query, wants: ['8'.repeat(40) as Oid] }, { slices: noSlices }), { code: 'corrupt' })
})

t.test('a bitmap that comes up late has what was met before it', async (t) => {
  // An octopus of a root, of a child of it and of that one's own child; and 300 commits on top.
  const history = [commitOf(nameOf(tree))]
  const add = (...parents: readonly Base[]): Base => {
    const { type, data } = commitOf(nameOf(tree), ...parents.map(nameOf))
    const text = data.toString().replaceAll('1700000000', String(1_700_000_000 + history.length))
    history.push({ type, data: Buffer.from(text) })
    return history.at(-1)!
  }
  const root = history[0]!
  const below = add(root)
  const beside = add(below)
  const octopus = add(root, beside, below)
  for (let i = 0; i < 300; i++) add(history.at(-1)!)
  const packs = [pack(file, tree, ...history)]
  const view = packView(packs)
  const order = orderOf(packs, 0)
  const bitmaps = BitmapFile.open(await bitmapsOf(view, order, [nameOf(history.at(-1)!), nameOf(beside)]), order)
  const bitOf = (commit: Base): number => order.findBit(Buffer.from(nameOf(commit), 'hex'))
  t.same(
    [root, below, beside, octopus].map((commit) => bitmaps.has(bitOf(commit))),
    [false, false, true, false],
  )
  t.equal(bitmaps.reachableFrom(bitOf(history.at(-1)!))?.size(), 306)
  const slices: Slices = { pause: () => Promise.resolve() }
  const found = await findReachable({ view, order, bitmaps, wants: [nameOf(octopus) as Oid], haves: [nameOf(root) as Oid] }, { slices })
  t.equal(found.size(), 3)
})

t.test('a graph of commits whose tree or parent is missing is not made', async (t) => {
  const collect = (...objects: readonly Base[]) => collectCommits(packView([pack(...objects)]), [tip as Oid], { slices: noSlices })
  await t.rejects(collect(child, commit), { code: 'corrupt', message: `the tree of commit ${tip} is missing` })
  await t.rejects(collect(child, tree), { code: 'corrupt', message: `object ${nameOf(commit)} is missing` })
  const before = CommitGraph.open(encodeCommitGraph(await collectCommits(packView([pack(tree, commit, child)]), [tip as Oid], { slices: noSlices })))
  const known = collectCommits(packView([pack(tree, child)]), [tip as Oid], { slices: noSlices }, before)
  await t.rejects(known, { code: 'corrupt', message: `object ${nameOf(commit)} is missing` }, 'also if a graph knows them')
  const seen: Progress[] = []
  const commits = Array.from({ length: 1100 }, (_, i) => ({
    type: 1 as const,
    data: Buffer.from(commit.data.toString().replace('message', `number ${i}`)),
  }))
  const view = packView([pack(tree, ...commits)])
  const tips = [...commits.map(nameOf), nameOf(tree)] as Oid[]
  t.equal((await collectCommits(view, tips, { slices: noSlices, onProgress: (progress) => seen.push(progress) })).count, 1100)
  t.same(seen, [{ title: 'Reading commits', done: 1024, total: 0 }])
})

t.test('the bits of a multi-pack index are those of its own packs', async (t) => {
  const [one, two] = [pack(file, tree), pack(commit, child)]
  const index = MultiPackIndex.open(
    encodeMultiPackIndex([
      { name: 'pack-a.idx', table: one.table },
      { name: 'pack-b.idx', table: two.table },
    ]),
  )
  const order = indexBitOrder(index, [
    { ordinal: 4, table: one.table },
    { ordinal: 7, table: two.table },
  ])
  t.same([0, 1, 2, 3].map(order.entryOfBit), [4 * 2 ** 32, 4 * 2 ** 32 + 1, 7 * 2 ** 32, 7 * 2 ** 32 + 1])
  t.same(
    [0, 1, 2, 3].map((bit) => order.bitOfRow(order.rowOfBit(bit))),
    [0, 1, 2, 3],
  )
  t.equal(order.findBit(Buffer.from(tip, 'hex')), 3)
  t.equal(order.findBit(Buffer.alloc(20)), -1)
  const others: readonly (readonly MemoryPack[])[] = [[one], [two, one], [one, pack(commit)]]
  for (const packs of others) {
    const ordered = packs.map(({ table }, ordinal) => ({ ordinal, table }))
    t.throws(() => indexBitOrder(index, ordered), { code: 'corrupt', message: 'multi-pack index is of other packs' })
  }
})
