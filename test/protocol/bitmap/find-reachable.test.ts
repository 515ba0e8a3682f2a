import t from 'tap'
import { BitmapFile } from '../../../protocol/bitmap/bitmap-file.js'
import { findReachable } from '../../../protocol/bitmap/find-reachable.js'
import type { Oid } from '../../../protocol/types.js'
import { bitmapsOf, orderOfPack, orderOfPacks } from '../../support/bitmaps.js'
import { dice } from '../../support/dice.js'
import { memoryPack, packView } from '../../support/pack-view.js'
import { closure, randomHistory, stored, type RandomHistory } from '../../support/random-history.js'
import { noSlices } from '../../support/wire.js'

/** Packs of these objects alone. */
const storedOf = (history: RandomHistory, oids: ReadonlySet<string>, random: (below: number) => number) =>
  stored({ ...history, objects: new Map([...history.objects].filter(([oid]) => oids.has(oid))) }, random).map((bytes, i) => ({
    name: `pack-${random(1_000_000)}-${i}.idx`,
    ...memoryPack(bytes),
  }))

for (const skew of [false, true]) {
  t.test(`of 50 histories, clocks ${skew ? 'wrong' : 'right'}: bitmaps say what is reached, and what is newer is walked`, async (t) => {
    let [asked, extra, bitmapped] = [0, 0, 0]
    for (let seed = 1; seed <= 50; seed++) {
      const random = dice(seed * 15_485_863)
      const history = randomHistory(random, skew, seed % 10 === 0 ? 500 : 60)
      const { commits, tips } = history
      const old = commits.slice(0, 1 + random(commits.length))
      const covered = closure(history, old)
      const packs = storedOf(history, covered, random)
      const isOne = packs.length === 1
      const order = isOne ? orderOfPack(packs[0]!, 0) : orderOfPacks(packs).order
      const rest = new Set([...history.objects.keys()].filter((oid) => !covered.has(oid) || random(10) === 0))
      const view = packView([...packs, ...storedOf(history, rest, random)])
      const bitmaps = BitmapFile.open(await bitmapsOf(view, order, [old.at(-1)!, old[random(old.length)]!]), order)
      bitmapped += bitmaps.count

      const oid = Buffer.alloc(20)
      const nameOf = (bit: number): string => {
        view.oidOf(order.entryOfBit(bit), oid)
        return oid.toString('hex')
      }
      for (const commit of bitmaps.commits) {
        const names: string[] = []
        bitmaps.reachableFrom(commit)!.each((bit) => names.push(nameOf(bit)))
        if (String(names.toSorted()) !== String([...closure(history, [nameOf(commit)])].toSorted())) t.fail(`history ${seed}: a bitmap`)
      }
      for (let n = 0; n < 5; n++) {
        const some = (most: number): Oid[] => Array.from({ length: random(most + 1) }, () => tips[random(tips.length)] as Oid)
        const [wants, haves] = [[tips[random(tips.length)] as Oid, ...some(3)], some(3)]
        const found = await findReachable({ view, order, bitmaps, wants, haves: [...haves, '9'.repeat(40) as Oid] }, { slices: noSlices })
        const names: string[] = []
        found.each((entry) => {
          view.oidOf(entry, oid)
          names.push(oid.toString('hex'))
        })
        const had = closure(history, haves)
        const expected = [...closure(history, wants)].filter((name) => !had.has(name))
        if (String(names.toSorted()) !== String(expected.toSorted()))
          t.fail(`history ${seed}, query ${n}: ${names.length} and not ${expected.length}`)
        if (found.size() !== names.length) t.fail(`history ${seed}, query ${n}: its size`)
        asked += 1
        extra += found.extra.length
      }
    }
    t.equal(asked, 250)
    t.ok(extra > 500 && bitmapped > 500, `${extra} objects without a bit, ${bitmapped} bitmaps`)
  })
}
