import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Turns } from '../../../src/packs/turns.js'

const never = new AbortController().signal

t.test('so many at once for each key; others pass those who wait for a key of their own', async (t) => {
  const turns = new Turns(2)
  const entered: string[] = []
  const take = async (name: string, keys: readonly string[]) => {
    const leave = await turns.take(keys, never)
    entered.push(name)
    return leave
  }
  const leaveA = await take('a', ['repository 1', 'user 1'])
  const leaveB = await take('b', ['repository 1', 'user 2'])
  const c = take('c', ['repository 1', 'user 3'])
  const d = take('d', ['repository 2', 'user 1'])
  await turn()
  t.same(entered, ['a', 'b', 'd'], 'c waits for repository 1')
  t.equal(turns.waiting, 1)
  t.equal(turns.tryTake(['user 1']), undefined)
  leaveA()
  leaveA()
  const leaveC = await c
  t.same(entered, ['a', 'b', 'd', 'c'])
  t.equal(turns.tryTake(['repository 1']), undefined, 'giving back twice counts once')
  for (const leave of [leaveB, leaveC, await d]) leave()
  const again = turns.tryTake(['repository 1', 'user 1'])
  t.ok(again)
  again?.()
})

t.test('among those with one key it goes by arrival', async (t) => {
  const turns = new Turns(1)
  const order: number[] = []
  const first = await turns.take(['x'], never)
  const rest = [1, 2, 3, 4].map(async (i) => {
    const leave = await turns.take(['x'], never)
    order.push(i)
    leave()
  })
  first()
  await Promise.all(rest)
  t.same(order, [1, 2, 3, 4])
})

t.test('who leaves while waiting is not waited for', async (t) => {
  const turns = new Turns(1)
  const leave = await turns.take(['x'], never)
  const gone = new AbortController()
  const waiting = turns.take(['x'], gone.signal)
  const next = turns.take(['x'], undefined)
  gone.abort()
  await t.rejects(waiting, { code: 'cancelled' })
  await t.rejects(turns.take(['y'], gone.signal), { code: 'cancelled' })
  leave()
  ;(await next)()
  t.equal(turns.waiting, 0)
  t.ok(turns.tryTake(['x']))
})
