import t from 'tap'
import type { Oid } from '../../protocol/types.js'
import { dice } from '../support/dice.js'
import { answer } from '../support/fetches.js'
import { memoryPack, packView } from '../support/pack-view.js'
import { blob, hexes, indexPack, insertDelta, nameOf, packOf, treeOf, type Base, type Entry } from '../support/packs.js'
import { refOf } from '../support/wire.js'

interface Model {
  readonly objects: Map<string, Base>
  /** By oid: what the object refers to. */
  readonly links: Map<string, readonly string[]>
  readonly commits: readonly string[]
  readonly tips: readonly string[]
}

/** Up to 25 commits with up to 4 parents anywhere in the past, over few files, so that trees repeat; tags of all sorts. `skew`: wrong clocks. */
function randomHistory(random: (below: number) => number, skew: boolean): Model {
  const objects = new Map<string, Base>()
  const links = new Map<string, readonly string[]>()
  const add = (object: Base, refersTo: readonly string[]): string => {
    const name = nameOf(object)
    objects.set(name, object)
    links.set(name, refersTo)
    return name
  }
  const file = (): string => add(blob(`file ${random(12)}\n`.repeat(8)), [])
  const folder = (): string => {
    const names = ['a', 'b', 'c'].filter(() => random(2) === 0).map((name) => ['100644', name, file()] as [string, string, string])
    return add(
      treeOf(...names),
      names.map(([, , oid]) => oid),
    )
  }
  const commits: string[] = []
  const count = 2 + random(24)
  for (let i = 0; i < count; i++) {
    const [x, y] = [folder(), folder()]
    const tree = add(treeOf(['40000', 'x', x], ['40000', 'y', y], ['160000', 'z', '5'.repeat(40)]), [x, y])
    const parents = [
      ...new Set(Array.from({ length: Math.min(i, random(9) === 0 ? 0 : 1 + random(3)) }, () => commits[i - 1 - random(Math.min(i, 6))]!)),
    ]
    const seconds = 1_000_000 + (skew && random(3) === 0 ? random(5000) : i * 100)
    const lines = [
      `tree ${tree}`,
      ...parents.map((parent) => `parent ${parent}`),
      `author A <a@b> ${seconds} +0000`,
      `committer A <a@b> ${seconds} +0000`,
    ]
    commits.push(add({ type: 1, data: Buffer.from(`${lines.join('\n')}\n\n${i}\n`) }, [tree, ...parents]))
  }
  const tips = [...commits]
  for (let i = 0; i < 5; i++) {
    const all = [...objects.keys()]
    const target = random(3) === 0 ? all[random(all.length)]! : tips[random(tips.length)]!
    const type = ['', 'commit', 'tree', 'blob', 'tag'][objects.get(target)!.type]
    tips.push(add({ type: 4, data: Buffer.from(`object ${target}\ntype ${type}\ntag t${i}\ntagger A <a@b> 1 +0000\n\nx\n`) }, [target]))
  }
  return { objects, links, commits, tips }
}

function closure({ links }: Model, tips: readonly string[]): Set<string> {
  const all = new Set<string>()
  const open = [...tips]
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    if (all.has(oid)) continue
    all.add(oid)
    open.push(...links.get(oid)!)
  }
  return all
}

/** The objects over one to three packs, some in several, some as deltas of others of their type. */
function stored({ objects }: Model, random: (below: number) => number): Buffer[] {
  const packs = Array.from({ length: 1 + random(3) }, () => new Set<string>())
  for (const oid of objects.keys()) {
    packs[random(packs.length)]!.add(oid)
    if (random(3) === 0) packs[random(packs.length)]!.add(oid)
  }
  return packs.map((names) => {
    const order = [...names].toSorted(() => random(3) - 1)
    const entries = order.map((oid, i): Entry => {
      const { type, data } = objects.get(oid)!
      const bytes = Buffer.from(data)
      const back = 1 + random(8)
      const base = back > i ? undefined : objects.get(order[i - back]!)!
      if (!base || base.type !== type || random(4) === 0) return { type, data: bytes }
      const delta = insertDelta(Buffer.from(base.data), bytes)
      return random(2) === 0 ? { back, delta } : { base: nameOf(base), delta }
    })
    return packOf(entries)
  })
}

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

function peel({ objects, links }: Model, oid: string): string {
  return objects.get(oid)!.type === 4 ? peel({ objects, links } as Model, links.get(oid)![0]!) : oid
}
