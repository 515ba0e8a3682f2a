import { mkdirSync } from 'node:fs'
import type { Dice } from './dice.js'
import { git } from './git.js'
import { blob, insertDelta, nameOf, packOf, treeOf, type Base, type Entry } from './packs.js'

export interface RandomHistory {
  readonly objects: Map<string, Base>
  /** By oid: what the object refers to. */
  readonly links: Map<string, readonly string[]>
  readonly commits: readonly string[]
  readonly tips: readonly string[]
}

/**
 * Two commits and up to `more`, with up to 4 parents anywhere in the past, over few files, so that trees repeat; tags of all sorts.
 * `skew`: wrong clocks.
 */
export function randomHistory(random: Dice, skew: boolean, more = 24): RandomHistory {
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
  const count = 2 + random(more)
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

/** Everything that can be reached from the tips. */
export function closure({ links }: RandomHistory, tips: readonly string[]): Set<string> {
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
export function stored({ objects }: RandomHistory, random: Dice): Buffer[] {
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
      // C git takes no delta that makes nothing.
      if (!base || base.type !== type || random(4) === 0 || bytes.length === 0) return { type, data: bytes }
      const delta = insertDelta(Buffer.from(base.data), bytes)
      return random(2) === 0 ? { back, delta } : { base: nameOf(base), delta }
    })
    return packOf(entries)
  })
}

/** What a tag finally names; of anything else itself. */
export function peel({ objects, links }: Pick<RandomHistory, 'objects' | 'links'>, oid: string): string {
  return objects.get(oid)!.type === 4 ? peel({ objects, links }, links.get(oid)![0]!) : oid
}

/** A new bare repository of such packs, with a ref for every tip: branches for commits, tags for what else there is. */
export async function writeHistory(bare: string, history: RandomHistory, packs: readonly Buffer[]): Promise<void> {
  mkdirSync(bare, { recursive: true })
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  for (const input of packs) await git(['index-pack', '--stdin'], { cwd: bare, input })
  const lines = history.tips.map((oid, i) => `create refs/${history.objects.get(oid)!.type === 1 ? 'heads' : 'tags'}/t${i} ${oid}\n`)
  await git(['update-ref', '--stdin'], { cwd: bare, input: Buffer.from(lines.join('')) })
}
