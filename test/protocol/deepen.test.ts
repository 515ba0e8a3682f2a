import t from 'tap'
import { deepen } from '../../protocol/deepen.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { DeepenLimit, Slices } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import { memoryPack, packView } from '../support/pack-view.js'
import { nameOf, packOf, treeOf, type Base } from '../support/packs.js'
import { noSlices } from '../support/wire.js'

const objects: (Base & { data: Buffer })[] = [treeOf()]
const names = new Map<string, Oid>()

function add(name: string, object: Base & { data: Buffer }): void {
  objects.push(object)
  names.set(name, nameOf(object) as Oid)
}

function commit(name: string, seconds: number, ...parents: readonly string[]): void {
  const who = `A <a@b> ${seconds} +0000`
  const lines = [`tree ${nameOf(objects[0]!)}`, ...parents.map((parent) => `parent ${names.get(parent)}`), `author ${who}`, `committer ${who}`]
  add(name, { type: 1, data: Buffer.from(`${lines.join('\n')}\n\n${name}\n`) })
}

// r ─ b ─ c ─ d ─ e        and f, which leads to b straight and by c; late has a wrong clock
commit('r', 100)
commit('b', 200, 'r')
commit('c', 300, 'b')
commit('d', 400, 'c')
commit('e', 500, 'd')
commit('f', 600, 'c', 'b')
commit('late', 50, 'd')
commit('after', 700, 'late')
commit('x', 800, 'b')
commit('m', 900, 'x', 'r')
add('tag', { type: 4, data: Buffer.from(`object ${names.get('e')}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nx\n`) })
add('treeTag', { type: 4, data: Buffer.from(`object ${nameOf(objects[0]!)}\ntype tree\ntag v2\ntagger A <a@b> 1 +0000\n\nx\n`) })

const view = packView([memoryPack(packOf(objects.map(({ type, data }) => ({ type, data }))))])
const oid = (name: string): Oid => names.get(name)!
const nameFor = (found: Oid): string => [...names].find(([, one]) => one === found)![0]

async function cut(tips: readonly string[], limit: DeepenLimit, shallow: readonly string[] = [], slices: Slices = noSlices) {
  const change = await deepen(view, { tips: tips.map(oid), shallow: shallow.map(oid), limit }, { slices })
  return [change.shallow.map(nameFor).toSorted(), change.unshallow.map(nameFor).toSorted()]
}

const depth = (count: number): DeepenLimit => ({ kind: 'depth', depth: count })
const revisions = (since: number | undefined, ...not: readonly string[]): DeepenLimit => ({ kind: 'revisions', since, not: not.map(oid) })

t.test('a depth counts commits on the shortest way', async (t) => {
  t.same(await cut(['e'], depth(1)), [['e'], []])
  t.same(await cut(['e'], depth(3)), [['c'], []])
  t.same(await cut(['f'], depth(2)), [['b', 'c'], []])
  t.same(await cut(['f'], depth(3)), [['r'], []])
  t.same(await cut(['e', 'f'], depth(2)), [['b', 'c', 'd'], []])
  t.same(await cut(['e'], depth(5)), [['r'], []], 'the first commit too, as git has it')
  t.same(await cut(['e'], depth(6)), [[], []])
})

t.test('tips are peeled, and what names no commit does not count', async (t) => {
  t.same(await cut(['tag', 'treeTag'], depth(2)), [['d'], []])
  t.same(await cut(['treeTag'], depth(1)), [[], []])
  t.same(await cut([], depth(1)), [[], []])
})

t.test('shallow commits of the client are told again only when they change', async (t) => {
  t.same(await cut(['e'], depth(2), ['d']), [[], []])
  t.same(await cut(['e'], depth(3), ['d']), [['c'], ['d']])
  t.same(await cut(['e'], depth(1), ['d']), [['e'], []], 'what lies beyond the border is left alone')
  t.same(await cut(['e'], depth(9), ['d', 'c', 'r']), [[], ['c', 'd', 'r']])
})

t.test('since a time, and without what a ref reaches', async (t) => {
  t.same(await cut(['e'], revisions(300)), [['c'], []])
  t.same(await cut(['e', 'f'], revisions(250)), [['c', 'f'], []], 'one parent left out is enough')
  t.same(await cut(['e'], revisions(undefined, 'b')), [['c'], []])
  t.same(await cut(['e', 'f'], revisions(undefined, 'c')), [['d', 'f'], []])
  t.same(await cut(['e'], revisions(450, 'b'), ['d']), [['e'], []])
  t.same(await cut(['e'], revisions(100), ['d', 'c']), [[], ['c', 'd']])
  t.same(await cut(['e'], revisions(300), ['d', 'c']), [[], ['d']])
  t.same(await cut(['e'], revisions(undefined, 'treeTag')), [[], []])
})

t.test('a border behind a border is not told: nothing of it is sent', async (t) => {
  // m leads to r, which is left out, and by x to b, whose parent is left out as well.
  t.same(await cut(['m'], revisions(150)), [['m'], []])
  t.same(await cut(['m', 'x'], revisions(150)), [['b', 'm'], []])
  t.same(await cut(['m'], revisions(150), ['x']), [['m'], ['x']], 'a shallow commit of the client gets its parents all the same')
})

t.test('a commit that claims to be old ends its path', async (t) => {
  t.same(await cut(['after'], revisions(300)), [['after'], []])
  t.same(await cut(['after', 'e'], revisions(300)), [['after', 'c'], []])
})

t.test('nothing left is an error', async (t) => {
  await t.rejects(cut(['e'], revisions(501)), { code: 'bad-request', message: 'no commits selected for shallow requests' })
  await t.rejects(cut(['d'], revisions(undefined, 'e')), { code: 'bad-request' })
})

t.test('a client that leaves ends the walk', async (t) => {
  let turns = 0
  const slices = {
    pause() {
      if (++turns > 2) throw new ProtocolError('cancelled', 'the client left')
      return Promise.resolve()
    },
  }
  await t.rejects(cut(['e'], depth(9), [], slices), { code: 'cancelled' })
  t.equal(turns, 3)
})
