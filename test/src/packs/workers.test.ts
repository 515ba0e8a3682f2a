import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { answerPack } from '../../../protocol/pack/writer.js'
import type { DeepenRequest } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import { decodeError, encodeError } from '../../../src/packs/workers/job-errors.js'
import { createPackJobs } from '../../../src/packs/workers/pack-jobs.js'
import { PackWorkers } from '../../../src/packs/workers/pool.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { HubError } from '../../../src/errors.js'
import { create, move, openDomain, slices, workTree } from '../../support/domain.js'

const workers = new PackWorkers({ size: 1 })
t.teardown(() => workers.close())
const domain = await openDomain(t, {}, workers)
const jobs = createPackJobs(workers, domain.spool)
const work = await workTree(t.testdir())

const repo = await domain.makeRepo('worked')
const base = await work.commit({ text: 'line\n'.repeat(2000), noise: randomBytes(3 * 2 ** 20) })
const tip = await work.commit({ text: `${'line\n'.repeat(2000)}more\n`, other: randomBytes(100) })
await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
await domain.push(repo, { commands: [move('refs/heads/main', base, tip)], pack: await work.pack(tip, `^${base}`) })

const request = { wants: [tip] as unknown as readonly Oid[], haves: [], thinPack: false, ofsDelta: true, includeTag: false }

/** An answer to be taken chunk by chunk. */
const opened = (answer: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> => answer as AsyncGenerator<Uint8Array>

async function collected(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}

t.test('a worker answers what the main thread answers, byte for byte', async (t) => {
  const view = await domain.packs.openSnapshot(repo.id)
  const here = await collected(answerPack(view, request, { slices: slices() }))
  const there = await collected(jobs.answer(view, request, { slices: slices() }))
  t.ok(here.length > 3 * 2 ** 20)
  t.ok(here.equals(there))
  t.equal(await jobs.reaches(view, [tip] as unknown as Oid[], [base] as unknown as Oid[], { slices: slices() }), true)
  const cut = { tips: [tip], shallow: [], limit: { kind: 'depth', depth: 1 } } as unknown as DeepenRequest
  t.match(await jobs.deepen(view, cut, { slices: slices() }), { shallow: [tip], unshallow: [] })
  t.equal(await jobs.reaches(view, [base] as unknown as Oid[], [tip] as unknown as Oid[], { slices: slices() }), false)
  view.release()
})

t.test('progress comes along', async (t) => {
  const view = await domain.packs.openSnapshot(repo.id)
  const titles = new Set<string>()
  await collected(jobs.answer(view, request, { slices: slices(), onProgress: ({ title }) => titles.add(title) }))
  t.same([...titles], ['Enumerating objects', 'Counting objects'])
  view.release()
})

t.test('a reader that takes nothing holds up nobody, and is never more than a few chunks behind', async (t) => {
  const view = await domain.packs.openSnapshot(repo.id)
  t.same(workers.load, { busyThreads: 0, jobs: 0 })
  const slow = opened(jobs.answer(view, request, { slices: slices() }))
  const first = await slow.next()
  t.equal(first.done, false)
  const beside = opened(jobs.answer(view, request, { slices: slices() }))
  await beside.next()
  t.same(workers.load, { busyThreads: 1, jobs: 2 }, 'one thread does both')
  await beside.return(undefined)
  t.same(workers.load, { busyThreads: 1, jobs: 1 })
  const firstBytes = (first.value as Uint8Array).length
  const other = await collected(jobs.answer(view, request, { slices: slices() }))
  t.ok(other.length > 3 * 2 ** 20, 'the one thread served another meanwhile')
  t.equal(workers.threads, 1)
  const rest = await collected(slow)
  t.equal(firstBytes + rest.length, other.length)
  view.release()
})

t.test('a client that leaves ends its job', async (t) => {
  const view = await domain.packs.openSnapshot(repo.id)
  const gone = new AbortController()
  const answer = opened(jobs.answer(view, request, { slices: slices(gone.signal) }))
  await answer.next()
  gone.abort()
  await t.rejects(collected(answer), { code: 'cancelled' })
  await t.rejects(collected(jobs.answer(view, request, { slices: slices(gone.signal) })), { code: 'cancelled' })
  const left = opened(jobs.answer(view, request, { slices: slices() }))
  await left.next()
  await left.return(undefined)
  t.ok((await collected(jobs.answer(view, request, { slices: slices() }))).length > 0, 'and the thread goes on')
  view.release()
})

t.test('what a worker refuses is refused in the same words, and leaves no spool', async (t) => {
  const parent = await work.commit({ p: 'p' })
  const child = await work.commit({ p: 'q', big: randomBytes(2 * 2 ** 20) })
  const pack = await work.pack(child, `^${parent}`)
  await t.rejects(domain.push(repo, { commands: [create('refs/heads/x', child)], pack }), {
    code: 'missing-object',
    message: /missing necessary objects/,
  })
  pack[pack.length - 1]! ^= 1
  await t.rejects(domain.push(repo, { commands: [create('refs/heads/x', child)], pack }), { code: 'bad-pack', message: /trailer/ })
  await t.rejects(domain.push(repo, { commands: [create('refs/heads/x', child)], pack: Buffer.from('PACK') }), { code: 'bad-pack' })
  t.equal(domain.spool.usedBytes, 0)
  t.same(
    (await readdir(join(domain.spool.directory)).catch(() => [])).filter((name) => name !== 'inline'),
    [],
  )
})

t.test('a thin pack is completed in the worker, in memory and in a file', async (t) => {
  const small = await work.commit({ text: `${'line\n'.repeat(2000)}even more\n` })
  t.match(
    await domain.push(await domain.current('worked'), { commands: [create('refs/heads/thin', small)], pack: await work.pack(small, `^${tip}`) }),
    [{ kind: 'ok' }],
  )
  const large = await work.commit({ text: `${'line\n'.repeat(2000)}and more\n`, lots: randomBytes(2 * 2 ** 20) })
  t.match(
    await domain.push(await domain.current('worked'), { commands: [create('refs/heads/large', large)], pack: await work.pack(large, `^${tip}`) }),
    [{ kind: 'ok' }],
  )
  t.equal(domain.spool.usedBytes, 0)
  const { siblings } = await domain.repos.repoInfo(await domain.current('worked'), { revision: 'large' })
  t.match(
    siblings.find(({ path }) => path === 'lots'),
    { size: 2 * 2 ** 20 },
  )
})

t.test('threads that end take their jobs along', async (t) => {
  const few = new PackWorkers({ size: 2 })
  const own = createPackJobs(few, domain.spool)
  const view = await domain.packs.openSnapshot(repo.id)
  const answer = opened(own.answer(view, request, { slices: slices() }))
  await answer.next()
  await few.close()
  await t.rejects(collected(answer), { code: 'unavailable' })
  await t.rejects(collected(own.answer(view, request, { slices: slices() })), { code: 'unavailable' }, 'a closed pool takes no jobs')
  view.release()
})

t.test('threads start when they are needed, and no process waits for idle ones', async (t) => {
  const few = new PackWorkers({ size: 3 })
  t.equal(few.threads, 0)
  const own = createPackJobs(few, domain.spool)
  const view = await domain.packs.openSnapshot(repo.id)
  await collected(own.answer(view, request, { slices: slices() }))
  t.equal(few.threads, 1)
  const open = Array.from({ length: 4 }, () => opened(own.answer(view, request, { slices: slices() })))
  await Promise.all(open.map((answer) => answer.next()))
  t.equal(few.threads, 3, 'and no more than that')
  await Promise.all(open.map((answer) => answer.return(undefined)))
  await few.close()
  view.release()
})

t.test('errors keep what callers tell apart', async (t) => {
  const across = (error: unknown) => decodeError(structuredClone(encodeError(error)))
  t.match(across(new ProtocolError('bad-object', 'tree x: bad')), { name: 'ProtocolError', code: 'bad-object', message: 'tree x: bad' })
  t.ok(across(new ProtocolError('bad-object', '')) instanceof ProtocolError)
  t.match(across(new HubError('storage-full', 'no room')), { name: 'HubError', code: 'storage-full', message: 'no room' })
  t.match(across(new TypeError('x is not a function')), { message: /x is not a function/ })
  t.match(across('odd'), { message: /odd/ })
})
