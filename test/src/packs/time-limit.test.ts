import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { startTimeLimit } from '../../../src/packs/time-limit.js'

t.test('aborts when the time is over, and says so', async (t) => {
  const limit = startTimeLimit(30, undefined, 'making the pack')
  t.equal(limit.signal.aborted, false)
  await delay(60)
  t.equal(limit.signal.aborted, true)
  t.match(limit.explain(new Error('cancelled')), { code: 'too-large', message: 'making the pack took more than 0.03 seconds' })
  limit.end()
})

t.test('time that is spent waiting for somebody else does not count', async (t) => {
  const limit = startTimeLimit(50, undefined, 'x')
  limit.pause()
  await delay(100)
  limit.resume()
  limit.resume()
  t.equal(limit.signal.aborted, false)
  const error = new Error('other')
  t.equal(limit.explain(error), error)
  await delay(100)
  t.equal(limit.signal.aborted, true)
  limit.end()
})

t.test('aborts with the signal it stands in for, and leaves nothing on it', async (t) => {
  const outer = new AbortController()
  const limit = startTimeLimit(10_000, outer.signal, 'x')
  outer.abort('left')
  t.equal(limit.signal.aborted, true)
  t.equal(limit.signal.reason, 'left')
  limit.end()
  t.equal(startTimeLimit(10_000, outer.signal, 'x').signal.aborted, true)
  const ended = startTimeLimit(10, undefined, 'x')
  ended.end()
  await delay(30)
  t.equal(ended.signal.aborted, false)
})
