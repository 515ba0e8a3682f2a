import t from 'tap'
import { createSlices } from '../../../src/packs/slices.js'

const busy = (ms: number): void => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

t.test('within its slice work goes on, after it everybody else has a turn', async (t) => {
  const slices = createSlices({ sliceMs: 100, signal: new AbortController().signal })
  t.equal(slices.pause(), undefined)
  const heard: string[] = []
  setImmediate(() => heard.push('somebody else'))
  busy(110)
  const pause = slices.pause()
  t.ok(pause instanceof Promise)
  await pause
  t.same(heard, ['somebody else'])
  t.equal(slices.pause(), undefined, 'a new slice has begun')
})

t.test('work ends when the client has left', async (t) => {
  const leaving = new AbortController()
  const slices = createSlices({ sliceMs: 1000, signal: leaving.signal })
  slices.pause()
  leaving.abort()
  t.throws(() => slices.pause(), { code: 'cancelled', message: 'the client left' })
})
