import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'
import { collectCommits, type CommitRows } from '../../../protocol/graph/commit-rows.js'
import { dice } from '../../support/dice.js'
import { memoryPack, packView, viewOf, type MemoryView } from '../../support/pack-view.js'
import type { Oid } from '../../../protocol/types.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { sealed } from '../../support/packs.js'
import { randomHistory, stored, writeHistory } from '../../support/random-history.js'
import { refusesDamage, refusesLies, survivesFuzz } from '../../support/side-files.js'
import { noSlices } from '../../support/wire.js'

const collect = (view: MemoryView, tips: readonly string[]): Promise<CommitRows> => collectCommits(view, tips as Oid[], { slices: noSlices })

/** What `git commit-graph write` makes of the refs; the repository is left without one. */
async function graphByGit(bare: string): Promise<Buffer> {
  await git(['commit-graph', 'write', '--reachable'], { cwd: bare })
  const at = join(bare, 'objects', 'info', 'commit-graph')
  const file = readFileSync(at)
  rmSync(at, { force: true })
  return file
}

async function verifies(bare: string, file: Buffer): Promise<void> {
  const at = join(bare, 'objects', 'info', 'commit-graph')
  writeFileSync(at, file)
  await git(['commit-graph', 'verify'], { cwd: bare })
}

t.test('C git accepts the graph of a real history and writes the same bytes', async (t) => {
  const bare = t.testdir()
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, 600)
  await git(['repack', '-q', '-a', '-d'], { cwd: bare })
  const view = await viewOf(bare)
  const rows = await collect(
    view,
    view.refs.list.map(({ oid }) => oid),
  )
  const file = encodeCommitGraph(rows)
  t.ok(file.equals(await graphByGit(bare)))
  await verifies(bare, file)
  t.equal(rows.count, 597)
})

t.test('what a graph from before has is not read again', async (t) => {
  const random = dice(11)
  const model = randomHistory(random, true, 80)
  const view = packView(stored(model, random).map(memoryPack))
  const half = CommitGraph.open(encodeCommitGraph(await collect(view, [model.commits[Math.floor(model.commits.length / 2)]!])))
  const whole = encodeCommitGraph(await collect(view, model.tips))
  const tips = model.tips as Oid[]
  t.ok(encodeCommitGraph(await collectCommits(view, tips, { slices: noSlices }, half)).equals(whole))
  const before = view.reads
  await collectCommits(view, model.commits as Oid[], { slices: noSlices }, CommitGraph.open(whole))
  t.equal(view.reads, before)
  const other = randomHistory(dice(6), true, 80)
  const otherGraph = CommitGraph.open(encodeCommitGraph(await collect(packView(stored(other, dice(6)).map(memoryPack)), other.tips)))
  t.ok(encodeCommitGraph(await collectCommits(view, tips, { slices: noSlices }, otherGraph)).equals(whole), 'one of another history does not matter')
})

for (const skew of [false, true]) {
  t.test(`of random histories with octopus merges, clocks ${skew ? 'wrong' : 'right'}`, async (t) => {
    let octopuses = 0
    for (let seed = 1; seed <= 6; seed++) {
      const random = dice(seed * 7919)
      const model = randomHistory(random, skew, 80)
      const bare = join(t.testdir(), String(seed))
      const packs = stored(model, random)
      await writeHistory(bare, model, packs)
      const file = encodeCommitGraph(await collect(packView(packs.map(memoryPack)), model.tips))
      t.ok(file.equals(await graphByGit(bare)), `history ${seed}`)
      await verifies(bare, file)
      const graph = CommitGraph.open(file)
      t.equal(graph.count, model.commits.length)
      for (const oid of model.commits) {
        const row = graph.findRow(Buffer.from(oid, 'hex'))
        const parents: string[] = []
        for (let n = 0, parent = 0; (parent = graph.parentAt(row, n)) !== -1; n++) parents.push(Buffer.from(graph.oidOf(parent)).toString('hex'))
        const [tree, ...expected] = model.links.get(oid)!
        if (expected.length > 2) octopuses += 1
        if (String(parents) !== String(expected)) t.fail(`parents of ${oid}`)
        if (Buffer.from(graph.treeOf(row)).toString('hex') !== tree) t.fail(`tree of ${oid}`)
        const seconds = Number(/committer .*> (\d+)/.exec(Buffer.from(model.objects.get(oid)!.data).toString())![1])
        if (graph.secondsOf(row) !== seconds || graph.heightOf(row) < seconds) t.fail(`time of ${oid}`)
      }
    }
    t.ok(octopuses > 10, `${octopuses} octopus merges`)
  })
}

/** Rows 0 to 3: a root, a child of it far in the past, an octopus of both and the root's other child, and that child. */
const few: CommitRows = {
  count: 4,
  oids: Buffer.concat([1, 2, 3, 4].map((byte) => Buffer.alloc(20, byte))),
  trees: Buffer.concat([5, 6, 7, 8].map((byte) => Buffer.alloc(20, byte))),
  seconds: Float64Array.of(2 ** 33, 7, 2 ** 33 + 5, 2 ** 34 - 1),
  firstParents: Uint32Array.of(0, 0, 1, 4, 5),
  parents: Uint32Array.of(0, 0, 1, 3, 0),
}

t.test('a graph is written to the byte', async (t) => {
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
  const fanout = Buffer.alloc(1024)
  for (let byte = 0; byte < 256; byte++) fanout.writeUInt32BE(Math.min(byte, 4), byte * 4)
  const body = Buffer.concat([
    hex('43475048 01 01 06 00'),
    hex('4f494446 000000000000005c 4f49444c 000000000000045c 43444154 00000000000004ac'),
    hex('47444132 000000000000053c 47444f32 000000000000054c 45444745 000000000000055c 00000000 0000000000000564'),
    fanout,
    few.oids,
    hex(`${'05'.repeat(20)} 70000000 70000000 00000006 00000000`),
    hex(`${'06'.repeat(20)} 00000000 70000000 00000008 00000007`),
    hex(`${'07'.repeat(20)} 00000000 80000000 0000000e 00000005`),
    hex(`${'08'.repeat(20)} 00000000 70000000 0000000b ffffffff`),
    hex('00000000 80000000 80000001 00000000'),
    hex('00000001fffffffa 00000001fffffffb'),
    hex('00000001 80000003'),
  ])
  t.same(
    encodeCommitGraph(few)
      .toString('hex')
      .match(/.{1,72}/g),
    sealed(body)
      .toString('hex')
      .match(/.{1,72}/g),
  )
})

t.test('a graph answers as it was written', async (t) => {
  const graph = CommitGraph.open(encodeCommitGraph(few))
  t.same(
    [0, 1, 2, 3].map((row) => [graph.levelOf(row), graph.secondsOf(row), graph.heightOf(row), [0, 1, 2, 3].map((n) => graph.parentAt(row, n))[0]]),
    [
      [1, 8_589_934_592, 8_589_934_592, -1],
      [2, 7, 8_589_934_593, 0],
      [3, 8_589_934_597, 17_179_869_184, 0],
      [2, 17_179_869_183, 17_179_869_183, 0],
    ],
  )
  t.same(
    [0, 1, 2, 3].map((n) => graph.parentAt(2, n)),
    [0, 1, 3, -1],
  )
  t.equal(graph.parentAt(1, 1), -1)
  t.equal(graph.findRow(Buffer.alloc(20, 5)), -1)
  const empty = { count: 0, oids: Buffer.alloc(0), trees: Buffer.alloc(0), seconds: new Float64Array(0), parents: new Uint32Array(0) }
  t.equal(CommitGraph.open(encodeCommitGraph({ ...empty, firstParents: new Uint32Array(1) })).count, 0)
})

t.test('of times beyond its reach a graph keeps 34 bits, and dates that still rise', async (t) => {
  const file = encodeCommitGraph({ ...few, seconds: Float64Array.of(2 ** 34 + 9, 8_640_000_000_000, 3, 4) })
  const graph = CommitGraph.open(file)
  t.same(
    [0, 1, 2, 3].map((row) => [graph.secondsOf(row), graph.heightOf(row)]),
    [
      [9, 17_179_869_193],
      [15_705_669_632, 8_640_000_000_000],
      [3, 8_640_000_000_001],
      [4, 17_179_869_194],
    ],
  )
})

t.test('a graph that is cut off or spoilt anywhere is refused', async (t) => refusesDamage(t, encodeCommitGraph(few), CommitGraph.open))

t.test('a graph that lies is refused, or no lookup leaves it', async (t) => {
  const [cdat, gda2, gdo2, edge] = [0x4ac, 0x53c, 0x54c, 0x55c]
  const cases: readonly [lie: string, offset: number, hex: string, message: string][] = [
    ['another format', 0, '58', 'is none'],
    ['a later version', 4, '02', 'has version 2'],
    ['a chain', 7, '01', 'is a part of a chain'],
    ['an oid out of order', 0x45c, '02', 'has a fan-out that does not match its oids'],
    ['a parent beyond the count', cdat + 36 + 23, '04', 'has a parent beyond its commits'],
    ['its own parent', cdat + 36 + 23, '01', 'has a parent that is no lower'],
    ['a second parent and no first', cdat + 24, '00000001', 'has a second parent and no first'],
    ['no level', cdat + 31, '02', 'has a commit without a level'],
    ['a level that is no higher', cdat + 36 + 31, '04', 'has a parent that is no lower'],
    ['parents beyond the end', cdat + 72 + 27, '02', 'has parents that are nowhere'],
    ['parents without end', edge + 4, '00', 'has parents that are nowhere'],
    ['shared parents', cdat + 108 + 24, '80000000', 'has parents that belong to several commits'],
    ['a parent in the list beyond the count', edge + 7, '04', 'has a parent beyond its commits'],
    ['a date no later', gda2 + 4, '00000000', 'has a parent with no earlier date'],
    ['a date that is nowhere', gda2 + 7, '02', 'has a date that is nowhere'],
    ['a date beyond all', gdo2, 'ffffffff', 'has a parent with no earlier date'],
    ['dates that are cut off', 8 + 4 * 12, '47444f33', 'has a date that is nowhere'],
    ['edges that are cut off', 8 + 5 * 12 + 11, '5e', 'has a chunk EDGE that is cut off'],
    ['edges of another name', 8 + 5 * 12, '45444746', 'has parents that are nowhere'],
  ]
  const file = encodeCommitGraph(few)
  refusesLies(
    t,
    file,
    cases.map(([lie, offset, hex, message]) => [lie, offset, hex, `commit graph ${message}`]),
    CommitGraph.open,
  )
  survivesFuzz(t, file, 10_000, CommitGraph.open, (graph) => {
    for (let row = 0; row < graph.count; row++) {
      for (let n = 0, parent = 0; (parent = graph.parentAt(row, n)) !== -1; n++) {
        if (graph.heightOf(parent) >= graph.heightOf(row)) t.fail('a way back to where it came from')
      }
    }
  })
})
