import t from 'tap'
import { ObjectCache } from '../../../protocol/pack/object-cache.js'

/** With what is kept beside it an object of 872 bytes costs 1000. */
const object = (fill: number): Uint8Array => new Uint8Array(872).fill(fill)

t.test('what was put in last, or asked for last, stays longest', async (t) => {
  const cache = new ObjectCache(8000)
  for (let i = 0; i < 7; i++) cache.put(i, object(i))
  t.same(cache.get(0), object(0))
  t.same(cache.get(6), object(6))
  // 0 counts as young again; 1 to 3 go with the next.
  for (let i = 7; i < 10; i++) cache.put(i, object(i))
  t.same(
    Array.from({ length: 10 }, (_, i) => cache.has(i)),
    [true, false, false, false, true, true, true, true, true, true],
  )
})

t.test('it never holds more than its bytes', async (t) => {
  const cache = new ObjectCache(10_000)
  for (let i = 0; i < 1000; i++) {
    cache.put(i, object(i))
    cache.get(i - 5)
    const held = Array.from({ length: i + 1 }, (_, k) => k).filter((k) => cache.has(k)).length
    if (held > 10) t.fail(`${held} objects after ${i}`)
  }
  t.ok(cache.has(999))
})

t.test('an object that would fill half of it is not kept, and without bytes nothing is', async (t) => {
  const cache = new ObjectCache(2000)
  cache.put(1, new Uint8Array(873))
  t.equal(cache.get(1), undefined)
  cache.put(1, object(1))
  t.same(cache.get(1), object(1))
  const none = new ObjectCache(0)
  none.put(1, new Uint8Array(0))
  t.equal(none.has(1), false)
})
