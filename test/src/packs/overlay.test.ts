import { createHash } from 'node:crypto'
import t from 'tap'
import { firstSlot, nextSlot, numberOfSlot, Overlay, rowOfSlot } from '../../../src/packs/overlay.js'

const oid = (seed: number): Buffer => createHash('sha1').update(String(seed)).digest()
const always = (_number: number): boolean => true

/** All (number, row) that stand under the first 8 bytes of the oid. */
function found(slots: Int32Array, seed: number, name: Uint8Array): [number, number][] {
  const hits: [number, number][] = []
  for (let slot = firstSlot(slots, seed, name); slot !== -1; slot = nextSlot(slots, slot))
    hits.push([numberOfSlot(slots, slot), rowOfSlot(slots, slot)])
  return hits
}

function add(overlay: Overlay, name: Uint8Array, row: number, number: number, alive = always): void {
  overlay.reserve(1, alive)
  overlay.insert(name, 0, row, number)
}

t.test('every object is found with its row and number, others are not', async (t) => {
  const overlay = new Overlay()
  for (let i = 0; i < 20_000; i++) add(overlay, oid(i), i, i % 1000)
  const { slots, seed } = overlay
  let wrong = 0
  for (let i = 0; i < 20_000; i++) {
    const [hit, ...more] = found(slots, seed, oid(i))
    if (hit?.[0] !== i % 1000 || hit[1] !== i || more.length > 0) wrong++
  }
  for (let i = 20_000; i < 40_000; i++) if (found(slots, seed, oid(i)).length > 0) wrong++
  t.equal(wrong, 0)
  t.ok(overlay.bytes >= 20_000 * 2 * 16 && overlay.bytes <= 20_000 * 6 * 16, `at most half full, and not wasteful: ${overlay.bytes}`)
})

t.test('copies of an object in many packs stand side by side', async (t) => {
  const overlay = new Overlay()
  for (let number = 0; number < 500; number++) add(overlay, oid(1), number * 2, number)
  t.same(
    found(overlay.slots, overlay.seed, oid(1)).toSorted(([a], [b]) => a - b),
    Array.from({ length: 500 }, (_, number) => [number, number * 2]),
  )
})

t.test('oids that share their first 8 bytes are told apart by the caller', async (t) => {
  const overlay = new Overlay()
  const [a, b] = [Buffer.alloc(20, 7), Buffer.alloc(20, 7)]
  b[19] = 8
  add(overlay, a, 1, 1)
  add(overlay, b, 2, 2)
  t.equal(found(overlay.slots, overlay.seed, a).length, 2)
})

t.test('an oid of zeros is found as any other', async (t) => {
  const overlay = new Overlay()
  t.same(found(overlay.slots, overlay.seed, Buffer.alloc(20)), [])
  add(overlay, Buffer.alloc(20), 0, 0)
  t.same(found(overlay.slots, overlay.seed, Buffer.alloc(20)), [[0, 0]])
})

t.test('growing makes a new buffer: who has the old one sees what was there', async (t) => {
  const overlay = new Overlay()
  for (let i = 0; i < 100; i++) add(overlay, oid(i), i, i)
  const old = overlay.slots
  const copy = old.slice()
  for (let i = 100; i < 1000; i++) add(overlay, oid(i), i, i)
  t.not(overlay.slots, old)
  t.equal(overlay.slots.filter((word, at) => at % 4 === 3 && word !== 0).length, 1000)
  for (let i = 0; i < 100; i++) t.same(found(old, overlay.seed, oid(i)), [[i, i]])
  const changed = old.filter((word, at) => word !== copy[at] && copy[at - (at % 4) + 3] !== 0)
  t.equal(changed.length, 0, 'no slot that was taken has changed')
})

t.test('numbers that are gone are left behind when it grows', async (t) => {
  const overlay = new Overlay()
  const alive = (number: number): boolean => number >= 1000
  for (let i = 0; i < 3000; i++) add(overlay, oid(i % 100), 0, i, alive)
  const numbers = found(overlay.slots, overlay.seed, oid(5)).map(([number]) => number)
  t.notOk(numbers.includes(5))
  t.equal(numbers.filter((number) => number >= 1000).length, 20)
})

t.test('tables differ in where they put things', async (t) => {
  const seeds = new Set(Array.from({ length: 20 }, () => new Overlay().seed))
  t.ok(seeds.size > 15)
})
