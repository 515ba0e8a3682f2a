import t from 'tap'
import { attend, type Chatter } from '../../protocol/keepalive.js'
import { handClock } from '../support/wire.js'

function talk(): Chatter & { say(text: string): void; mute: boolean } {
  const waiting: Buffer[] = []
  let wake = () => {}
  return {
    mute: false,
    take: () => waiting.shift(),
    beat() {
      return this.mute ? undefined : Buffer.from('beat')
    },
    onWake(called) {
      wake = called
    },
    say(text) {
      waiting.push(Buffer.from(text))
      wake()
    },
  }
}

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  return Promise.withResolvers<T>()
}

const textOf = (step: IteratorResult<Uint8Array, unknown>) => (step.done ? { returned: step.value } : Buffer.from(step.value).toString())

t.test('work that is done at once says nothing and leaves no sleeper', async (t) => {
  const clock = handClock()
  const steps = attend(Promise.resolve(7), talk(), { ...clock, keepaliveMs: 5000, signal: new AbortController().signal })
  t.same(textOf(await steps.next()), { returned: 7 })
  t.equal(clock.sleepers, 0)
})

t.test('what waits already is said first', async (t) => {
  const clock = handClock()
  const chatter = talk()
  chatter.say('hello')
  const work = later<string>()
  const onWake = (wake: () => void) => wake()
  const steps = attend(work.promise, { ...chatter, onWake }, { ...clock, keepaliveMs: 5000, signal: new AbortController().signal })
  t.equal(textOf(await steps.next()), 'hello')
  work.resolve('over')
  t.same(textOf(await steps.next()), { returned: 'over' })
})

t.test('a beat comes after each silence, none where something was said', async (t) => {
  const clock = handClock()
  const chatter = talk()
  const work = later<string>()
  const steps = attend(work.promise, chatter, { ...clock, keepaliveMs: 5000, signal: new AbortController().signal })
  let step = steps.next()
  await clock.tick()
  t.equal(textOf(await step), 'beat')
  step = steps.next()
  chatter.say('counting')
  t.equal(textOf(await step), 'counting')
  step = steps.next()
  await clock.tick()
  await clock.tick()
  t.equal(textOf(await step), 'beat', 'the first silence was broken, the second was not')
  step = steps.next()
  chatter.mute = true
  await clock.tick()
  chatter.mute = false
  await clock.tick()
  t.equal(textOf(await step), 'beat', 'it waits for its turn')
  step = steps.next()
  work.resolve('done')
  t.same(textOf(await step), { returned: 'done' })
  t.equal(clock.sleepers, 0)
})

t.test('what the work throws is thrown here', async (t) => {
  const clock = handClock()
  const work = later<string>()
  const steps = attend(work.promise, talk(), { ...clock, keepaliveMs: 5000, signal: new AbortController().signal })
  const step = steps.next()
  work.reject(new Error('broken'))
  await t.rejects(step, { message: 'broken' })
  t.equal(clock.sleepers, 0)
})

t.test('a clock that fails costs the beats and not the work', async (t) => {
  const sleep = () => Promise.reject(new Error('no time'))
  const steps = attend(new Promise((resolve) => setImmediate(() => resolve(1))), talk(), {
    sleep,
    keepaliveMs: 1,
    signal: new AbortController().signal,
  })
  t.same(textOf(await steps.next()), { returned: 1 })
})

t.test('once the client has left, it waits for the work without a word', async (t) => {
  for (const when of ['before', 'meanwhile'] as const) {
    const clock = handClock()
    const client = new AbortController()
    const chatter = talk()
    const work = later<string>()
    if (when === 'before') client.abort()
    const steps = attend(work.promise, chatter, { ...clock, keepaliveMs: 5000, signal: client.signal })
    const step = steps.next()
    client.abort()
    chatter.say('anybody there?')
    await clock.tick()
    work.resolve('over')
    t.same(textOf(await step), { returned: 'over' }, when)
    t.equal(clock.sleepers, 0)
  }
})

t.test('a consumer that stops in the middle waits until the work has let go', async (t) => {
  for (const outcome of ['resolve', 'reject'] as const) {
    const clock = handClock()
    const work = later<string>()
    const steps = attend(work.promise, talk(), { ...clock, keepaliveMs: 5000, signal: new AbortController().signal })
    const step = steps.next()
    await clock.tick()
    await step
    let over = false
    const end = steps.return('left').then(() => {
      over = true
    })
    await clock.tick()
    t.equal(over, false)
    if (outcome === 'resolve') work.resolve('x')
    else work.reject(new Error('cut'))
    await end
    t.equal(over, true, outcome)
  }
})
