import t from 'tap'
import { enumerateObjects, type KnownHistory } from '../../protocol/enumerate.js'
import { CommitGraph } from '../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../protocol/graph/commit-graph-writer.js'
import { collectCommits } from '../../protocol/graph/commit-rows.js'
import type { Oid } from '../../protocol/types.js'
import { dice } from '../support/dice.js'
import { answer } from '../support/fetches.js'
import { memoryPack, packView } from '../support/pack-view.js'
import { hexes, indexPack } from '../support/packs.js'
import { closure, peel, randomHistory, stored } from '../support/random-history.js'
import { noSlices, refOf } from '../support/wire.js'

for (const skew of [false, true]) {
  t.test(`of 400 histories, clocks ${skew ? 'wrong' : 'right'}: all that is needed is sent, once, and nothing that is not wanted`, async (t) => {
    let [requests, deltas, extra] = [0, 0, 0]
    for (let seed = 1; seed <= 400; seed++) {
      const random = dice(seed * 7919)
      const model = randomHistory(random, skew)
      const refs = model.tips.slice(-5).map((oid, i) => refOf(`refs/tags/t${i}`, oid as Oid, peel(model, oid) as Oid))
      const view = packView(stored(model, random).map(memoryPack), refs)
      for (let n = 0; n < 4; n++) {
        const some = (most: number): Oid[] => Array.from({ length: random(most + 1) }, () => model.tips[random(model.tips.length)] as Oid)
        const [wants, haves] = [[model.tips[random(model.tips.length)] as Oid, ...some(3)], some(4)]
        const [thinPack, ofsDelta, includeTag] = [random(2) === 0, random(2) === 0, random(3) === 0]
        const pack = await answer(view, { wants, haves, thinPack, ofsDelta, includeTag })
        const had = closure(model, haves)
        const bases = new Map([...model.objects].filter(([oid]) => thinPack && had.has(oid)))
        const { index } = indexPack(pack, { bases })
        const list = hexes(index.oids).slice(0, pack.readUInt32BE(8))
        const sent = new Set(list)
        const wanted = closure(model, wants)
        const asked = `history ${seed}, request ${n}`
        if (sent.size !== list.length) t.fail(`${asked}: something twice`)
        if ([...wanted].some((oid) => !sent.has(oid) && !had.has(oid))) t.fail(`${asked}: something is left out`)
        const tags = new Set(includeTag ? refs.filter(({ peeled }) => sent.has(peeled!)).flatMap(({ oid }) => [...closure(model, [oid])]) : [])
        if (list.some((oid) => !wanted.has(oid) && !tags.has(oid))) t.fail(`${asked}: something nobody wanted`)
        if ([...tags].some((oid) => !sent.has(oid) && !had.has(oid))) t.fail(`${asked}: a tag is left behind`)
        const known = list.filter((oid) => had.has(oid) && model.objects.get(oid)!.type === 1)
        if (!skew && known.length > 0) t.fail(`${asked}: commits that are had`)
        requests += 1
        extra += known.length
        deltas += index.bases.filter((base) => base !== -1).length
      }
    }
    t.equal(requests, 1600)
    t.ok(deltas > 2000, `${deltas} deltas`)
    t.comment(`${extra} commits were sent although they were had`)
  })
}

t.test('with a commit graph of some of the history the same is found, and its commits are not read', async (t) => {
  let known = 0
  for (let seed = 1; seed <= 100; seed++) {
    const random = dice(seed * 104_729)
    const model = randomHistory(random, seed % 2 === 0)
    const view = packView(stored(model, random).map(memoryPack))
    const tip = (): Oid => model.tips[random(model.tips.length)] as Oid
    const graph = CommitGraph.open(encodeCommitGraph(await collectCommits(view, [tip(), tip()], { slices: noSlices })))
    const request = { wants: [tip(), tip()], haves: random(2) === 0 ? [tip()] : [], thinPack: false, ofsDelta: true, includeTag: false }
    const entries = async (more: KnownHistory): Promise<number[][]> => {
      const { commits, tags, trees, blobs } = await enumerateObjects(view, request, { slices: noSlices }, more)
      return [commits, tags, trees, blobs].map((list) => [...list.view()].toSorted((a, b) => a - b))
    }
    t.strictSame(await entries({ graph }), await entries({}), `history ${seed}`)
    known += graph.count
  }
  t.ok(known > 500, `${known} commits known`)

  const model = randomHistory(dice(3), false)
  const view = packView(stored(model, dice(3)).map(memoryPack))
  const commits = model.tips.map((oid) => peel(model, oid)).filter((oid) => model.objects.get(oid)!.type === 1) as Oid[]
  const graph = CommitGraph.open(encodeCommitGraph(await collectCommits(view, commits, { slices: noSlices })))
  const before = view.reads
  const request = { wants: commits, haves: [], thinPack: false, ofsDelta: true, includeTag: false, filter: { blobBytes: 0, treeDepth: 0 } }
  t.equal((await enumerateObjects(view, request, { slices: noSlices }, { graph })).count, graph.count)
  t.equal(view.reads, before)
})
