import t from 'tap'
import { ArenaCache } from '../../../protocol/pack/arena-cache.js'
import { diceOf } from '../../support/dice.js'

const object = (fill: number, bytes = 1000): Buffer => Buffer.alloc(bytes, fill)

/** Makes an object in the cache's own memory. */
function make(cache: ArenaCache, entry: number, content: Uint8Array): Uint8Array {
  const room = cache.room(content.length)
  room.set(content)
  cache.keep(entry, room)
  return room
}

t.test('what was put in last, or asked for last, stays longest', async (t) => {
  const cache = new ArenaCache(8000)
  for (let i = 0; i < 4; i++) cache.put(i, object(i))
  make(cache, 4, object(4))
  t.same(cache.get(0), object(0), 'of the old ones')
  for (const i of [5, 6]) cache.put(i, object(i))
  for (const i of [7, 8]) make(cache, i, object(i))
  t.same(
    Array.from({ length: 9 }, (_, i) => cache.has(i)),
    [true, false, false, false, true, true, true, true, true],
  )
  t.equal(cache.get(1), undefined)
  for (const i of [0, 4, 5]) t.same(cache.get(i), object(i))
  t.equal(cache.has(6), false, 'the last of the old ones went as 5 came back')
})

t.test('an object is never made where its base lies', async (t) => {
  const cache = new ArenaCache(64 * 1024)
  let base = cache.put(0, object(0, 16 * 1024))
  for (let i = 1; i < 1000; i++) {
    const bytes = 16 * 1024 - (i % 300)
    const made = cache.room(bytes)
    made.fill(i & 255)
    if (!base.every((byte) => byte === ((i - 1) & 255))) return t.fail(`the base of ${i} was written over`)
    cache.keep(i, made)
    base = cache.get(i)!
    if (base.length !== bytes) return t.fail(`${i} has ${base.length} bytes`)
  }
  t.ok(cache.has(999))
})

t.test('a thousand objects of several packs, in any order, are themselves or not there', async (t) => {
  const dice = diceOf(7)
  const cache = new ArenaCache(300_000)
  const entries = Array.from({ length: 1000 }, (_, i) => (i % 3) * 2 ** 32 + 1000 * i)
  let found = 0
  for (let step = 0; step < 20_000; step++) {
    const i = dice(1000)
    const there = cache.get(entries[i]!)
    if (there) found += 1
    const content = object(i & 255, 1 + ((i * 7) % 900))
    if (there && Buffer.compare(there, content) !== 0) return t.fail(`object ${i} in step ${step}`)
    if (!there) (step % 2 ? make : (from: ArenaCache, entry: number, data: Uint8Array) => from.put(entry, data))(cache, entries[i]!, content)
  }
  t.ok(found > 5_000 && found < 19_000, `${found}`)
})

t.test('an object over a quarter of it is not kept, and is a copy', async (t) => {
  const cache = new ArenaCache(4000)
  const large = object(1, 1001)
  const kept = cache.put(1, large)
  t.ok(large.equals(kept))
  t.not(kept, large)
  make(cache, 2, large)
  t.equal(cache.has(1) || cache.has(2), false)
  cache.put(3, object(3))
  t.ok(cache.has(3))
})
