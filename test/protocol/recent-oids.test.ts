import { createHash } from 'node:crypto'
import t from 'tap'
import { RecentOids } from '../../protocol/recent-oids.js'

const oid = (n: number): Buffer => createHash('sha1').update(String(n)).digest()

t.test('an oid is known once it was noted, wherever it stands', async (t) => {
  const recent = new RecentOids()
  const padded = Buffer.concat([Buffer.alloc(7), oid(1), Buffer.alloc(3)])
  t.equal(recent.note(oid(1), 0), false)
  t.equal(recent.note(padded, 7), true)
  t.equal(recent.note(padded, 6), false)
})

t.test('none is made up, not even one that differs in a single byte', async (t) => {
  for (let byte = 0; byte < 20; byte++) {
    const recent = new RecentOids()
    recent.note(oid(1), 0)
    const other = oid(1)
    other[byte]! ^= 1
    t.equal(recent.note(other, 0), false, `byte ${byte}`)
  }
})

t.test('of many, most that came lately are known and no new one is', async (t) => {
  const recent = new RecentOids()
  const count = 100_000
  let made = 0
  for (let i = 0; i < count; i++) if (recent.note(oid(i), 0)) made += 1
  t.equal(made, 0)
  let known = 0
  for (let i = count - 1000; i < count; i++) if (recent.note(oid(i), 0)) known += 1
  t.ok(known > 900, `${known} of the last 1000`)
})
