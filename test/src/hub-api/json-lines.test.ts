import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { jsonLines, withKeepalive } from '../../../src/hub-api/json-lines.js'

async function* items(...steps: (object | number | Error)[]): AsyncGenerator<object> {
  for (const step of steps) {
    if (typeof step === 'number') await sleep(step)
    else if (step instanceof Error) throw step
    else yield step
  }
}

const collect = async <T>(from: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const item of from) all.push(item)
  return all
}

t.test('each item is a line', async (t) => {
  const lines = await collect(jsonLines(items({ a: 1 }, { b: 'ü\n' }), () => ({})))
  t.equal(Buffer.concat(lines).toString(), '{"a":1}\n{"b":"ü\\n"}\n')
})

t.test('what fails after the first line is the last one, and before it is thrown', async (t) => {
  const explain = (error: unknown) => ({ error: (error as Error).message })
  const lines = await collect(jsonLines(items({ a: 1 }, new Error('no')), explain))
  t.equal(Buffer.concat(lines).toString(), '{"a":1}\n{"error":"no"}\n')
  await t.rejects(collect(jsonLines(items(new Error('no'), { a: 1 }), explain)), { message: 'no' })
})

t.test('an empty item comes whenever there is silence, and nothing is lost', async (t) => {
  const heard = Promise.withResolvers<void>()
  async function* source(): AsyncGenerator<object> {
    yield { a: 1 }
    await heard.promise
    yield* items({ b: 2 }, { c: 3 })
  }
  const all: object[] = []
  for await (const item of withKeepalive(source(), 5)) {
    all.push(item)
    if (all.length === 4) heard.resolve()
  }
  t.same(all.slice(0, 4), [{ a: 1 }, {}, {}, {}])
  t.same(
    all.filter((item) => Object.keys(item).length > 0),
    [{ a: 1 }, { b: 2 }, { c: 3 }],
  )
  t.same(await collect(withKeepalive(items({ a: 1 }), 60_000)), [{ a: 1 }])
  await t.rejects(collect(withKeepalive(items(30, new Error('no')), 10)), { message: 'no' })
})

t.test('who leaves in the silence has the source ended, whatever it still throws', async (t) => {
  let ended = false
  async function* source(): AsyncGenerator<object> {
    try {
      yield* items(50, new Error('nobody hears this'))
    } finally {
      ended = true
    }
  }
  for await (const item of withKeepalive(source(), 10)) {
    t.same(item, {})
    break
  }
  t.equal(ended, true)
})
