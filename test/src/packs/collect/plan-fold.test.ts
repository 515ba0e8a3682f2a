import t from 'tap'
import { foldLimits, planFold, type FoldablePack } from '../../../../src/packs/collect/plan-fold.js'

const limits = { ...foldLimits, maxBytes: 2 ** 30 }
const stored = (id: number, objects: number, bytes = 0): FoldablePack => ({ id, objects, bytes, inline: false })
const inline = (id: number, objects = 3, bytes = 300): FoldablePack => ({ id, objects, bytes, inline: true })
const several = (count: number, make: (id: number) => FoldablePack) => Array.from({ length: count }, (_, i) => make(i + 1))

t.test('few packs stay as they are', async (t) => {
  t.same(planFold([], limits), [])
  t.same(
    planFold(
      several(12, (id) => stored(id, 10)),
      limits,
    ),
    [],
  )
  t.same(planFold([...several(11, (id) => inline(id)), stored(12, 1)], limits), [])
})

t.test('over 64 inline packs, or 8 MiB of them, are folded; a large pack is not touched', async (t) => {
  const packs = [stored(1000, 1_000_000), ...several(65, (id) => inline(id))]
  t.same(
    planFold(packs, limits),
    several(65, inline).map(({ id }) => id),
  )
  const heavy = [...several(70, (id) => inline(id, 3, 128 * 1024)), stored(99, 1_000_000)]
  t.equal(planFold(heavy.slice(0, 64).concat(heavy.slice(-1)), { ...limits, maxPacks: 100 }).length, 0, 'exactly 8 MiB in 64 packs')
  t.equal(planFold([...heavy.slice(0, 63), inline(80, 3, 128 * 1024 + 1), stored(99, 1_000_000)], { ...limits, maxPacks: 100 }).length, 64)
})

t.test('a pack between inline ones goes along', async (t) => {
  t.same(new Set(planFold([...several(64, (id) => inline(id, 3)), inline(65, 500), stored(70, 100), stored(71, 100_000)], limits)).has(70), true)
})

t.test('the lightest packs of a broken progression are folded, the others stay', async (t) => {
  const progression = Array.from({ length: 13 }, (_, i) => stored(i + 1, 2 ** i))
  t.same(planFold(progression, limits), [], 'each at least twice the one before')
  const equal = several(12, (id) => stored(100 + id, 10))
  const ids = equal.map(({ id }) => id)
  t.same(planFold([...equal, stored(1, 300), stored(2, 1_000)], limits), ids, '300 is more than twice 120')
  t.same(planFold([...equal, stored(1, 200), stored(2, 1_000)], limits), [...ids, 1], '200 is not, and 1,000 is more than twice 320')
  t.same(planFold([stored(1, 1), ...several(13, (id) => stored(10 + id, 1000))], limits), [
    1,
    ...several(13, (id) => stored(10 + id, 0)).map(({ id }) => id),
  ])
})

t.test('bytes weigh as well: one huge file is not copied again and again', async (t) => {
  const packs = [stored(1, 3, 900 * 2 ** 20), ...several(14, (id) => stored(10 + id, 20))]
  t.notOk(planFold(packs, limits).includes(1))
})

t.test('what could not have been pushed is not made', async (t) => {
  const packs = several(20, (id) => stored(id, 1000, 2 ** 20))
  t.equal(planFold(packs, { ...limits, maxBytes: 5 * 2 ** 20 }).length, 5)
  t.equal(planFold(packs, { ...limits, maxObjects: 7_500 }).length, 7)
  t.same(planFold(packs, { ...limits, maxObjects: 1_999 }), [], 'one pack alone is no fold')
})

t.test('folding again and again: a byte is copied a logarithmic number of times, and packs stay few', async (t) => {
  let packs: FoldablePack[] = []
  let copied = 0
  for (let push = 1; push <= 5_000; push++) {
    packs.push(inline(push))
    const ids = new Set(planFold(packs, limits))
    if (ids.size === 0) continue
    const gone = packs.filter(({ id }) => ids.has(id))
    const objects = gone.reduce((sum, pack) => sum + pack.objects, 0)
    copied += objects
    const bytes = objects * 100
    packs = [...packs.filter(({ id }) => !ids.has(id)), { id: 1_000_000 + push, objects, bytes, inline: bytes <= 128 * 1024 }]
  }
  t.ok(packs.length <= 80, `${packs.length} packs`)
  t.ok(copied < 15_000 * 13, `${copied} objects copied for 15,000`)
})
