import t from 'tap'
import { selectCommits } from '../../../protocol/bitmap/select-commits.js'
import { skeletonOf } from '../../../protocol/bitmap/skeleton.js'
import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'

/** Commits whose rows rise with their times; `parentsOf` gives the parents of a row. */
function graphOf(count: number, parentsOf: (row: number) => readonly number[]): CommitGraph {
  const oids = Buffer.alloc(count * 20)
  for (let row = 0; row < count; row++) oids.writeUInt32BE(row, row * 20)
  const parents = Array.from({ length: count }, (_, row) => parentsOf(row))
  const firstParents = new Uint32Array(count + 1)
  parents.forEach((list, row) => (firstParents[row + 1] = firstParents[row]! + list.length))
  const seconds = Float64Array.from({ length: count }, (_, row) => 1000 + row)
  return CommitGraph.open(encodeCommitGraph({ count, oids, trees: oids, seconds, parents: Uint32Array.from(parents.flat()), firstParents }))
}

const line = (row: number): readonly number[] => (row === 0 ? [] : [row - 1])

t.test('the newest commits all have a bitmap, older ones ever fewer', async (t) => {
  const cases: readonly [commits: number, selected: number][] = [
    [1, 1],
    [100, 100],
    [103, 102],
    [1000, 115],
    [20_000, 303],
    [100_000, 334],
  ]
  for (const [commits, selected] of cases) {
    const rows = selectCommits(graphOf(commits, line), [])
    t.equal(rows.length, selected, `of ${commits}`)
    t.same(
      rows.slice(0, 100),
      Array.from({ length: Math.min(commits, 100) }, (_, i) => commits - 1 - i),
    )
    const gaps = rows.slice(1).map((row, i) => rows[i]! - row)
    t.ok(gaps.every((gap) => gap > 0 && gap <= 3001))
    t.ok(rows.at(-1)! < 3001, 'and the oldest are not far from one')
  }
})

t.test('a tip is taken before a merge, and a merge before others', async (t) => {
  const merges = graphOf(2000, (row) => (row % 70 === 35 ? [row - 1, row - 2] : line(row)))
  const rows = selectCommits(merges, [500, 7])
  t.ok(rows.includes(500) && rows.includes(7))
  const old = rows.filter((row) => row < 1700)
  t.same(
    old.filter((row) => row % 70 !== 35),
    [500, 7],
  )
  const manyTips = Array.from({ length: 1500 }, (_, row) => row)
  const selected = selectCommits(merges, manyTips)
  t.ok(manyTips.slice(0, 500).every((row) => selected.includes(row)))
  t.ok(selected.length < 650, 'but not more tips than that')
})

t.test('bitmaps start from where lines of first parents join', async (t) => {
  //  0 - 1 - 2 - 3 - 4 - 5 - 8
  //           \           /
  //            6 - 7 ----      9: another root
  const graph = graphOf(10, (row) => [[], [0], [1], [2], [3], [4], [2], [6], [5, 7], []][row]!)
  t.same(skeletonOf(graph, [9, 8, 7, 4]), [
    { commit: 9, base: -1 },
    { commit: 2, base: -1 },
    { commit: 7, base: 2 },
    { commit: 4, base: 2 },
    { commit: 8, base: 4 },
  ])
  t.same(skeletonOf(graph, []), [])
})
