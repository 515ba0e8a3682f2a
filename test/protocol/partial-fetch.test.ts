import t from 'tap'
import type { ObjectFilter, PackRequest, PackView } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import { uploadPack } from '../../protocol/upload-pack.js'
import { answer } from '../support/fetches.js'
import { altered, memoryPack, packView } from '../support/pack-view.js'
import { blob, commitOf, hexes, indexPack, insertDelta, nameOf, packOf, treeOf, type Base } from '../support/packs.js'
import { bodyOf, fakeFetch, forever, noSlices, oidOf, pkts, wireText } from '../support/wire.js'

const none = Number.POSITIVE_INFINITY

// root: big, small, sub/          sub: small, deep, low/          low: lowest, and big once more
const parts = {
  small: blob('small'),
  deep: blob('deep and wide'),
  lowest: blob('lowest'),
  big: blob('big '.repeat(100)),
}
const low = treeOf(['100644', 'a', nameOf(parts.lowest)], ['100644', 'b', nameOf(parts.big)])
const sub = treeOf(['100644', 'deep', nameOf(parts.deep)], ['40000', 'low', nameOf(low)], ['100644', 'small', nameOf(parts.small)])
const root = treeOf(['100644', 'big', nameOf(parts.big)], ['100644', 'small', nameOf(parts.small)], ['40000', 'sub', nameOf(sub)])
const commit = commitOf(nameOf(root))
const objects: Readonly<Record<string, Base & { data: Buffer }>> = { commit, root, sub, low, ...parts }
const nameFor = (oid: string): string => Object.keys(objects).find((name) => nameOf(objects[name]!) === oid)!
const view = packView([memoryPack(packOf(Object.values(objects)))])

async function sent(
  wants: readonly string[],
  filter: Partial<ObjectFilter>,
  on: PackView = view,
  more: Partial<PackRequest> = {},
): Promise<string[]> {
  const request = { wants: wants.map((name) => nameOf(objects[name]!) as Oid), filter: { blobBytes: none, treeDepth: none, ...filter }, ...more }
  return hexes(indexPack(await answer(on, request)).index.oids)
    .map(nameFor)
    .toSorted()
}

t.test('blobs go by size: those of the limit itself stay behind', async (t) => {
  t.same(await sent(['commit'], { blobBytes: 0 }), ['commit', 'low', 'root', 'sub'])
  t.same(await sent(['commit'], { blobBytes: 6 }), ['commit', 'low', 'root', 'small', 'sub'])
  t.same(await sent(['commit'], { blobBytes: 7 }), ['commit', 'low', 'lowest', 'root', 'small', 'sub'])
  t.same(await sent(['commit'], { blobBytes: 401 }), ['big', 'commit', 'deep', 'low', 'lowest', 'root', 'small', 'sub'])
})

t.test('trees go by depth, and what is met further up counts from there', async (t) => {
  t.same(await sent(['commit'], { treeDepth: 0 }), ['commit'])
  t.same(await sent(['commit'], { treeDepth: 1 }), ['commit', 'root'])
  t.same(await sent(['commit'], { treeDepth: 2 }), ['big', 'commit', 'root', 'small', 'sub'])
  t.same(await sent(['commit'], { treeDepth: 3 }), ['big', 'commit', 'deep', 'low', 'root', 'small', 'sub'])
  t.same(await sent(['commit'], { treeDepth: 3, blobBytes: 10 }), ['commit', 'low', 'root', 'small', 'sub'])
})

t.test('what is wanted by name is sent whatever the filter says', async (t) => {
  t.same(await sent(['big'], { blobBytes: 0 }), ['big'])
  t.same(await sent(['commit', 'big', 'lowest'], { treeDepth: 0, blobBytes: 0 }), ['big', 'commit', 'lowest'])
  t.same(await sent(['low', 'big'], { treeDepth: 0 }), ['big', 'low'])
  t.same(await sent(['sub'], { blobBytes: 0 }), ['low', 'sub'], 'a tree with the trees below it')
  t.same(await sent(['sub'], { treeDepth: 0 }), ['sub'])
  t.same(await sent(['sub'], { treeDepth: 1 }), ['deep', 'low', 'small', 'sub'], 'depth is counted from what it names')
  t.same(await sent(['commit', 'sub'], { treeDepth: 1 }), ['commit', 'deep', 'low', 'root', 'small', 'sub'])
})

t.test('lazy fetches look at what is wanted and at nothing else', async (t) => {
  const many = Array.from({ length: 3000 }, (_, i) => blob(`${i}`))
  const all = packView([memoryPack(packOf([...Object.values(objects), ...many]))])
  const only = altered(all, {
    async read(pack, from, to) {
      if (from < all.offsetOf(all.named(nameOf(many[0]!)))) throw new Error('a commit or a tree was read')
      return all.read(pack, from, to)
    },
  })
  const wants = many.slice(100, 2100).map((object) => nameOf(object) as Oid)
  const pack = await answer(only, { wants, filter: { blobBytes: 0, treeDepth: none } })
  t.same(hexes(indexPack(pack).index.oids).toSorted(), wants.toSorted())
})

t.test('a thin pack leans on nothing that a partial clone may lack', async (t) => {
  const [old, next] = [blob('line\n'.repeat(300)), blob(`${'line\n'.repeat(300)}more\n`)]
  const [before, after] = [old, next].map((file) => treeOf(['100644', 'f', nameOf(file!)]))
  const first = commitOf(nameOf(before!))
  const second = commitOf(nameOf(after!), nameOf(first))
  const delta = insertDelta(old.data, next.data)
  const thin = packView([memoryPack(packOf([old, before!, after!, first, second, { base: nameOf(old), delta }]))])
  const request = { wants: [nameOf(second) as Oid], haves: [nameOf(first) as Oid], thinPack: true }
  const bases = new Map([[nameOf(old), old]])
  t.equal(indexPack(await answer(thin, request), { bases }).indexer.addedBases, 1)
  const filter = { blobBytes: 10_000, treeDepth: none }
  t.equal(indexPack(await answer(thin, { ...request, filter }), { bases }).indexer.addedBases, 0)
})

t.test('on the wire', async (t) => {
  const a = oidOf('a')
  const ask = (version: 0 | 2, ...lines: readonly string[]) => {
    const port = fakeFetch({ oids: [a] })
    const signal = new AbortController().signal
    const body = bodyOf(pkts(...lines))
    const said = wireText(uploadPack({ version, body, open: async () => port, slices: noSlices, sleep: forever, keepaliveMs: 5000, signal }))
    return said.then((text) => port.requests[0] ?? text)
  }
  const v2 = (...lines: readonly string[]) => ask(2, 'command=fetch', '0001', `want ${a}`, ...lines, 'done', '0000')
  const v0 = (...lines: readonly string[]) => ask(0, `want ${a} filter`, ...lines, '0000', 'done')
  for (const fetch of [v2, v0]) {
    t.match(await fetch('filter blob:limit=5\n'), { filter: { blobBytes: 5, treeDepth: none } })
    t.notOk(Object.hasOwn((await fetch()) as object, 'filter'))
    t.equal(await fetch('filter sparse:oid=x'), "002cERR filter 'sparse:oid=x' not supported\n")
    t.equal(await fetch('filter tree:0', 'filter tree:0'), '002cERR more than one filter in one request\n')
  }
})

t.test('answers of other filters are kept apart', async (t) => {
  const a = oidOf('a')
  const keys: string[] = []
  const cache = { find: (key: string) => void keys.push(key), record: () => ({ add: () => undefined, keep: () => undefined, end: () => undefined }) }
  for (const lines of [
    [],
    ['filter blob:none'],
    ['filter tree:0'],
    ['filter blob:limit=1'],
    ['filter combine:blob:none+tree:0'],
    ['filter blob:limit=0'],
  ]) {
    const signal = new AbortController().signal
    const body = bodyOf(pkts('command=fetch', '0001', `want ${a}`, ...lines, 'done', '0000'))
    const port = { ...fakeFetch({ oids: [a] }), cache }
    await wireText(uploadPack({ version: 2, body, open: async () => port, slices: noSlices, sleep: forever, keepaliveMs: 5000, signal }))
  }
  t.equal(new Set(keys).size, 5)
  t.equal(keys[1], keys[5], 'what means the same is the same')
})
