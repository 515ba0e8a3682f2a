import t from 'tap'
import type { Oid } from '../../protocol/types.js'
import { dice } from '../support/dice.js'
import { answer } from '../support/fetches.js'
import { memoryPack, packView } from '../support/pack-view.js'
import { hexes, indexPack } from '../support/packs.js'
import { closure, peel, randomHistory, stored } from '../support/random-history.js'
import { refOf } from '../support/wire.js'

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
