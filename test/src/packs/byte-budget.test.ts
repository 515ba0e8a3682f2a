import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { ByteBudget } from '../../../src/packs/byte-budget.js'

const never = new AbortController().signal

t.test('lets in what fits, in order of arrival, and the rest waits', async (t) => {
  const budget = new ByteBudget(100)
  const entered: string[] = []
  const enter = async (name: string, bytes: number) => {
    const leave = await budget.reserve(bytes, never)
    entered.push(name)
    return leave
  }
  const leaveA = await enter('a', 60)
  const b = enter('b', 60)
  // It would fit, but b was first.
  const c = enter('c', 10)
  await turn()
  t.same(entered, ['a'])
  t.equal(budget.usedBytes, 60)
  leaveA()
  const [leaveB, leaveC] = await Promise.all([b, c])
  t.same(entered, ['a', 'b', 'c'])
  t.equal(budget.usedBytes, 70)
  leaveB()
  leaveB()
  t.equal(budget.usedBytes, 10, 'giving up twice counts once')
  leaveC()
  t.equal(budget.usedBytes, 0)
})

t.test('who needs more than there is gets all of it, alone', async (t) => {
  const budget = new ByteBudget(100)
  const leave = await budget.reserve(1000, never)
  t.equal(budget.usedBytes, 100)
  let other = false
  const waiting = budget.reserve(1, never).then((done) => {
    other = true
    return done
  })
  await turn()
  t.equal(other, false)
  leave()
  ;(await waiting)()
  t.equal(budget.usedBytes, 0)
})

t.test('a client that leaves gives up its place', async (t) => {
  const budget = new ByteBudget(100)
  const leave = await budget.reserve(100, never)
  const gone = new AbortController()
  const refused = t.rejects(budget.reserve(100, gone.signal), { code: 'cancelled' })
  const behind = budget.reserve(10, never)
  gone.abort()
  await refused
  await t.rejects(budget.reserve(1, gone.signal), { code: 'cancelled' })
  leave()
  ;(await behind)()
  t.equal(budget.usedBytes, 0)
})
