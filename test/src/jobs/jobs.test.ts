import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { createJobs } from '../../../src/jobs/jobs.js'
import { testDatabase } from '../../support/postgres.js'
import { becomes } from '../../support/becomes.js'

const timings = { pollMs: 500, superviseMs: 1_000, lostAfterMs: 10_000, retryMs: 1_000 }
const quiet = () => undefined
const hour = 3_600_000

t.test('a task that is enqueued runs at once', async (t) => {
  const { connection } = await testDatabase(t)
  let runs = 0
  const jobs = createJobs({ connection, tasks: { sweep: async () => void runs++ }, schedule: {}, log: quiet })
  t.teardown(() => jobs.close())
  await jobs.start()
  await delay(200)
  t.equal(runs, 0, 'not by itself')
  const started = performance.now()
  t.equal(await jobs.enqueue('sweep'), true)
  t.ok(await becomes(() => runs === 1))
  t.ok(performance.now() - started < 2_000, 'long before anybody looks by the clock')
})

t.test('of many hubs one runs a scheduled task, once a turn', async (t) => {
  const { connection } = await testDatabase(t)
  const runs: string[] = []
  let running = 0
  let together = 0
  const turnMs = 2_000
  const hubs = [1, 2, 3].map(() =>
    createJobs({
      connection,
      tasks: {
        often: async () => {
          running++
          together = Math.max(together, running)
          await delay(300)
          runs.push('often')
          running--
        },
        seldom: async () => void runs.push('seldom'),
      },
      schedule: { often: turnMs, seldom: 24 * hour },
      log: quiet,
      timings,
    }),
  )
  t.teardown(() => Promise.all(hubs.map((jobs) => jobs.close())))
  await Promise.all(hubs.map((jobs) => jobs.start()))
  await delay(3 * turnMs)
  const often = runs.filter((name) => name === 'often').length
  t.ok(often >= 3 && often <= 4, `${often} runs in three turns`)
  t.equal(runs.filter((name) => name === 'seldom').length, 1)
  t.equal(together, 1)
})

t.test('two of a name never run at a time, nor do they queue up', async (t) => {
  const { connection } = await testDatabase(t)
  let running = 0
  let together = 0
  let runs = 0
  const ends: (() => void)[] = []
  const make = () =>
    createJobs({
      connection,
      tasks: {
        slow: async () => {
          runs++
          together = Math.max(together, ++running)
          await new Promise<void>((resolve) => ends.push(resolve))
          running--
        },
        other: async () => void runs++,
      },
      schedule: {},
      log: quiet,
      timings,
    })
  const hubs = [make(), make()] as const
  t.teardown(() => Promise.all(hubs.map((jobs) => jobs.close())))
  for (const jobs of hubs) await jobs.start()
  t.equal(await hubs[0].enqueue('slow'), true)
  t.ok(await becomes(() => running === 1))
  const added = await Promise.all(Array.from({ length: 20 }, (_, i) => hubs[i % 2]!.enqueue('slow')))
  t.same(new Set(added), new Set([false]))
  t.equal(await hubs[1].enqueue('other'), true, 'another name is not held up')
  t.ok(await becomes(() => runs === 2))
  await delay(1_500)
  ends.shift()!()
  t.ok(await becomes(() => running === 0))
  t.ok(await becomes(() => hubs[0].enqueue('slow')), 'when it has ended there may be another')
  t.ok(await becomes(() => ends.length === 1))
  ends.shift()!()
  t.equal(together, 1)
})

t.test('a task that fails is logged and tried again', async (t) => {
  const { connection } = await testDatabase(t)
  const logged: string[] = []
  let runs = 0
  const jobs = createJobs({
    connection,
    tasks: {
      flaky: async () => {
        if (++runs === 1) throw new Error('the store is away')
      },
    },
    schedule: { flaky: hour },
    log: (fields, phrase) => logged.push(`${phrase} ${(fields as { err?: Error }).err?.message ?? ''}`.trim()),
    timings,
  })
  t.teardown(() => jobs.close())
  await jobs.start()
  t.ok(await becomes(() => logged.length === 2))
  t.same([runs, logged], [2, ['job failed the store is away', 'job done']])
})

t.test('closing tells a task to stop, waits for it, and leaves it to be tried again', async (t) => {
  const db = await testDatabase(t)
  let state = 'idle'
  const tasks = {
    long: async (signal: AbortSignal) => {
      state = 'running'
      await once(signal, 'abort')
      await delay(300)
      state = 'stopped'
      signal.throwIfAborted()
    },
  }
  const first = createJobs({ connection: db.connection, tasks, schedule: { long: hour }, log: quiet, timings })
  await first.start()
  t.ok(await becomes(() => state === 'running'))
  await first.close()
  t.equal(state, 'stopped')
  const [open] = await db.query<{ n: number }>(
    sql`SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'cairn jobs' AND datname = current_database()`,
  )
  t.equal(open!.n, 0, 'no connection is left')

  state = 'idle'
  const second = createJobs({ connection: db.connection, tasks, schedule: {}, log: quiet, timings })
  t.teardown(() => second.close())
  await second.start()
  t.ok(await becomes(() => state === 'running'))
})

t.test('closing does not wait for ever', async (t) => {
  const { connection } = await testDatabase(t)
  let running = false
  const jobs = createJobs({
    connection,
    tasks: {
      deaf: async () => {
        running = true
        await delay(60_000, undefined, { ref: false })
      },
    },
    schedule: { deaf: hour },
    log: quiet,
    timings,
  })
  await jobs.start()
  t.ok(await becomes(() => running))
  const started = performance.now()
  await jobs.close(1_000)
  t.ok(performance.now() - started < 5_000)
})

t.test('a queue whose connections were cut makes new ones', async (t) => {
  const db = await testDatabase(t)
  let runs = 0
  const jobs = createJobs({ connection: db.connection, tasks: { sweep: async () => void runs++ }, schedule: {}, log: quiet, timings })
  t.teardown(() => jobs.close())
  await jobs.start()
  for (const expected of [1, 2]) {
    t.ok(await becomes(() => jobs.enqueue('sweep').catch(() => false)))
    t.ok(await becomes(() => runs === expected))
    await db.query(sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn jobs' AND datname = current_database()`)
  }
})

t.test('it works for an account that owns its database and nothing else', async (t) => {
  const db = await testDatabase(t)
  const role = `jobs_${process.pid}`
  const [{ name } = { name: '' }] = await db.query<{ name: string }>(sql`SELECT current_database() AS name`)
  await db.execute({ text: `CREATE ROLE ${role} LOGIN PASSWORD 'plain' NOSUPERUSER NOCREATEDB NOCREATEROLE`, values: [] })
  await db.execute({ text: `ALTER DATABASE ${name} OWNER TO ${role}`, values: [] })
  t.teardown(async () => {
    await db.execute({ text: `ALTER DATABASE ${name} OWNER TO CURRENT_USER`, values: [] })
    await db.execute({ text: `DROP OWNED BY ${role} CASCADE`, values: [] })
    await db.execute({ text: `DROP ROLE ${role}`, values: [] })
  })
  const { connectionString } = db.connection as { connectionString: string }
  const connection = { connectionString: connectionString.replace(/\/\/[^@]*@/, `//${role}:plain@`) }
  let runs = 0
  const jobs = createJobs({ connection, tasks: { sweep: async () => void runs++ }, schedule: { sweep: hour }, log: quiet, timings })
  t.teardown(() => jobs.close())
  await jobs.start()
  t.ok(await becomes(() => runs === 1))
})

t.test('turns under a second and over a week are refused', async (t) => {
  const connection = { connectionString: 'postgresql://nowhere' }
  for (const sweep of [0, 999, -1, Number.NaN, 8 * 24 * hour])
    t.throws(() => createJobs({ connection, tasks: { sweep: async () => undefined }, schedule: { sweep }, log: quiet }), RangeError)
})
