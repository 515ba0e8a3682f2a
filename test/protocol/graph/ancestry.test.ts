import t from 'tap'
import { Ancestry } from '../../../protocol/graph/ancestry.js'
import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'
import { collectCommits } from '../../../protocol/graph/commit-rows.js'
import type { Oid } from '../../../protocol/types.js'
import { dice, type Dice } from '../../support/dice.js'
import { memoryPack, packView } from '../../support/pack-view.js'
import { resealed } from '../../support/packs.js'
import { closure, randomHistory, stored } from '../../support/random-history.js'
import { noSlices } from '../../support/wire.js'

/** The graph as a file has it, and as one without corrected dates has it. */
async function graphsOf(random: Dice, skew: boolean) {
  const model = randomHistory(random, skew, 60)
  const view = packView(stored(model, random).map(memoryPack))
  const file = encodeCommitGraph(await collectCommits(view, model.tips as Oid[], { slices: noSlices }))
  const without = Buffer.from(file)
  without.write('GDAX', file.indexOf('GDA2'), 'latin1')
  return { model, graphs: [file, without] }
}

for (const skew of [false, true]) {
  t.test(`every commit of 30 histories knows its ancestors, clocks ${skew ? 'wrong' : 'right'}`, async (t) => {
    let [asked, yes] = [0, 0]
    for (let seed = 1; seed <= 30; seed++) {
      const random = dice(seed * 104_729)
      const { model, graphs } = await graphsOf(random, skew)
      for (const file of graphs) {
        const graph = CommitGraph.open(resealed(file))
        const ancestry = new Ancestry(graph)
        const rowOf = (oid: string): number => graph.findRow(Buffer.from(oid, 'hex'))
        const above = new Map(model.commits.map((oid) => [oid, closure(model, [oid])]))
        for (const of of model.commits) {
          for (const ancestor of model.commits) {
            const expected = above.get(of)!.has(ancestor)
            if (ancestry.isAncestor(rowOf(ancestor), rowOf(of)) !== expected) t.fail(`history ${seed}: ${ancestor} of ${of} is ${expected}`)
            asked += 1
            yes += expected ? 1 : 0
          }
        }
        for (let n = 0; n < 100; n++) {
          const some = (): string[] => Array.from({ length: random(4) }, () => model.commits[random(model.commits.length)]!)
          const [wants, haves] = [some(), some()]
          const expected = wants.every((want) => haves.some((have) => above.get(want)!.has(have)))
          if (ancestry.reaches(wants.map(rowOf), haves.map(rowOf)) !== expected)
            t.fail(`history ${seed}: ${wants.join()} to ${haves.join()} is ${expected}`)
        }
      }
    }
    t.ok(yes > 2000 && asked - yes > 2000, `${yes} of ${asked}`)
  })
}
