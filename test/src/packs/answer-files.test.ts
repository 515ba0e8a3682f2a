import { readdir } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ProtocolError } from '../../../protocol/errors.js'
import type { WorkOptions } from '../../../protocol/ports.js'
import { AnswerFiles, type AnswerFilesOptions } from '../../../src/packs/answer-files.js'
import type { MakeAnswer } from '../../../src/packs/kept-answer.js'
import { becomes } from '../../support/becomes.js'
import { slices } from '../../support/domain.js'

function filesOf(t: Test, options: Partial<AnswerFilesOptions> = {}): AnswerFiles {
  const files = new AnswerFiles({ directory: `${t.testdirName}/answers`, maxBytes: 1_000_000, maxAnswerBytes: 500_000, slices, ...options })
  t.teardown(() => files.forget())
  return files
}

const options = (signal?: AbortSignal): WorkOptions => ({ slices: slices(signal) })

/** Makes an answer of so many chunks, each once `next` lets it; and what became of it. */
function maker(chunks: number, chunkBytes = 1_000) {
  const state = { made: 0, given: 0, released: 0, aborted: false }
  let go = Promise.withResolvers<void>()
  let free = false
  const make: MakeAnswer = ({ slices: { signal } }) => {
    state.made++
    const buffer = Buffer.alloc(chunkBytes)
    return {
      release: () => void state.released++,
      chunks: (async function* () {
        for (let i = 0; i < chunks; i++) {
          if (!free) await Promise.race([go.promise, new Promise((resolve) => signal!.addEventListener('abort', resolve, { once: true }))])
          if (!free) go = Promise.withResolvers<void>()
          if (signal!.aborted) {
            state.aborted = true
            throw new ProtocolError('cancelled', 'the client left')
          }
          state.given++
          yield buffer.fill(i)
        }
      })(),
    }
  }
  return {
    make,
    state,
    next: () => go.resolve(),
    all: () => {
      free = true
      go.resolve()
    },
  }
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}

const expected = (chunks: number, chunkBytes = 1_000) => Buffer.concat(Array.from({ length: chunks }, (_, i) => Buffer.alloc(chunkBytes, i)))

t.test('an answer is made once and kept, without a name on the disk', async (t) => {
  const files = filesOf(t)
  const { make, state, all } = maker(5)
  all()
  t.ok((await whole(files.answer('1', 'a', make, options()))).equals(expected(5)))
  t.ok((await whole(files.answer('1', 'a', make, options()))).equals(expected(5)))
  t.same(state, { made: 1, given: 5, released: 1, aborted: false })
  t.equal(files.usedBytes, 5_000)
  t.same(await readdir(`${t.testdirName}/answers`), [])
  await whole(files.answer('1', 'b', make, options()))
  await whole(files.answer('2', 'a', make, options()))
  t.equal(state.made, 3, 'another key, another scope')
  files.forget('1')
  t.equal(files.usedBytes, 5_000)
  files.forget()
  t.equal(files.usedBytes, 0)
})

t.test('who asks meanwhile reads along, and it outlives the first who asked', async (t) => {
  const files = filesOf(t)
  const { make, state, next, all } = maker(4)
  const first = files.answer('1', 'a', make, options())
  const begun = first.next()
  next()
  t.equal((await begun).value?.length, 1_000)
  const second = whole(files.answer('1', 'a', make, options()))
  await delay(10)
  await first.return(undefined)
  all()
  t.ok((await second).equals(expected(4)))
  t.same(state, { made: 1, given: 4, released: 1, aborted: false })
})

t.test('when nobody reads it any more it is given up, and the next one makes it anew', async (t) => {
  const files = filesOf(t)
  const { make, state, next } = maker(4)
  const leaver = new AbortController()
  const read = whole(files.answer('1', 'a', make, options(leaver.signal)))
  next()
  await becomes(() => state.given === 1)
  leaver.abort()
  await t.rejects(read, { code: 'cancelled' })
  await becomes(() => state.released === 1)
  t.match(state, { made: 1, released: 1, aborted: true })
  t.equal(files.usedBytes, 0)
  const again = maker(2)
  again.all()
  t.ok((await whole(files.answer('1', 'a', again.make, options()))).equals(expected(2)))
})

t.test('what fails fails for all who wait, and is not kept', async (t) => {
  const files = filesOf(t)
  let released = 0
  const make: MakeAnswer = () => ({
    release: () => void released++,
    chunks: (async function* () {
      yield Buffer.alloc(10)
      await delay(10)
      throw new ProtocolError('corrupt', 'it does not read back')
    })(),
  })
  const both = await Promise.allSettled([whole(files.answer('1', 'a', make, options())), whole(files.answer('1', 'a', make, options()))])
  t.match(both, [
    { status: 'rejected', reason: { code: 'corrupt' } },
    { status: 'rejected', reason: { code: 'corrupt' } },
  ])
  t.equal(released, 1)
  t.equal(files.usedBytes, 0)
})

t.test('one that is too large goes from hand to hand at the pace of its one reader', async (t) => {
  const files = filesOf(t, { maxAnswerBytes: 2_500 })
  const { make, state, all } = maker(50)
  all()
  const slow = files.answer('1', 'a', make, options())
  const parts: Buffer[] = []
  for await (const chunk of slow) {
    parts.push(Buffer.from(chunk))
    if (parts.length === 3) await delay(20)
    if (parts.length > 4) t.ok(state.given <= parts.length + 3, `${state.given} were made when ${parts.length} were taken`)
  }
  t.ok(Buffer.concat(parts).equals(expected(50)))
  t.equal(files.usedBytes, 0)
  t.ok((await whole(files.answer('1', 'a', make, options()))).equals(expected(50)))
  t.equal(state.made, 2)
})

t.test('one that is too large for several who wait already is whole for each of them', async (t) => {
  const files = filesOf(t, { maxAnswerBytes: 2_500 })
  const { make, state, next, all } = maker(20)
  const readers = [1, 2, 3].map(() => whole(files.answer('1', 'a', make, options())))
  const leaver = new AbortController()
  const gone = whole(files.answer('1', 'a', make, options(leaver.signal)))
  next()
  await becomes(() => state.given === 1)
  leaver.abort()
  await t.rejects(gone)
  all()
  for (const bytes of await Promise.all(readers)) t.ok(bytes.equals(expected(20)))
  t.equal(state.made, 1)
  t.equal(files.usedBytes, 0)
})

t.test('the one used longest ago makes room, and who reads it reads on', async (t) => {
  const files = filesOf(t, { maxBytes: 10_000, maxAnswerBytes: 6_000 })
  const make = (chunks: number) => {
    const one = maker(chunks)
    one.all()
    return one
  }
  const [a, b] = [make(4), make(4)]
  await whole(files.answer('1', 'a', a.make, options()))
  await whole(files.answer('1', 'b', b.make, options()))
  await whole(files.answer('1', 'a', a.make, options()))
  const reading = files.answer('1', 'b', b.make, options())
  t.equal((await reading.next()).value?.length, 4_000)
  await whole(files.answer('1', 'a', a.make, options()))
  await whole(files.answer('1', 'c', make(5).make, options()))
  t.equal(files.usedBytes, 9_000)
  t.equal((await reading.next()).done, true)
  await whole(files.answer('1', 'a', a.make, options()))
  t.equal(a.state.made, 1)
  await whole(files.answer('1', 'b', b.make, options()))
  t.equal(b.state.made, 2)
})

t.test('a whole answer is offered to be kept elsewhere, and can be read until that is done', async (t) => {
  const files = filesOf(t)
  const { make, all, state } = maker(3)
  all()
  const offered: Buffer[] = []
  const end = Promise.withResolvers<void>()
  const keeping: MakeAnswer = (options) => ({
    ...make(options),
    async keep(answer) {
      t.equal(answer.bytes, 3_000)
      offered.push(await whole(answer.read()))
      await end.promise
      offered.push(await whole(answer.read()))
    },
  })
  t.ok((await whole(files.answer('1', 'a', keeping, options()))).equals(expected(3)))
  t.ok((await whole(files.answer('1', 'a', keeping, options()))).equals(expected(3)))
  await becomes(() => offered.length === 1)
  files.forget()
  t.equal(files.usedBytes, 0)
  end.resolve()
  t.ok(await becomes(() => offered.length === 2))
  for (const bytes of offered) t.ok(bytes.equals(expected(3)))
  t.same(state, { made: 1, given: 3, released: 1, aborted: false })
})

t.test('one that has no room, or fails, is not offered', async (t) => {
  const files = filesOf(t, { maxAnswerBytes: 2_500 })
  const { make, all } = maker(3)
  all()
  let offers = 0
  const keep = async () => void offers++
  await whole(files.answer('1', 'a', (options) => ({ ...make(options), keep }), options()))
  const failing: MakeAnswer = () => ({
    keep,
    release: () => undefined,
    chunks: (async function* () {
      yield Buffer.alloc(10)
      throw new ProtocolError('corrupt', 'it does not read back')
    })(),
  })
  await t.rejects(whole(files.answer('1', 'b', failing, options())), { code: 'corrupt' })
  await delay(20)
  t.equal(offers, 0)
})
