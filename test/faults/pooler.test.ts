import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase, type Database, type DatabaseOptions } from '../../src/db/pool.js'
import { named, sql } from '../../src/db/sql.js'
import { git } from '../support/git.js'
import { serveHub } from '../support/served-hub.js'
import { findPgbouncer, startPgbouncer } from '../support/tools/pgbouncer.js'
import { startPostgres } from '../support/tools/postgres-server.js'

const found = await findPgbouncer()
const server = await startPostgres(t)
/** Fewer than either pool wants, so that its connections go from hand to hand. */
const poolSize = 3
const port = found.missing ? 0 : await startPgbouncer(t, server, { poolSize })
const admin = open({ connection: parseDatabaseUrl(server.url()) })
await admin.execute(sql`CREATE DATABASE hub`)
await admin.execute(sql`CREATE DATABASE other`)

function open(options: Partial<DatabaseOptions> & Pick<DatabaseOptions, 'connection'>): Database {
  const db = openDatabase({ maxConnections: 10, statementTimeoutMs: 2_000, ...options })
  t.teardown(() => db.close())
  return db
}

const pooled = (options: Partial<DatabaseOptions> = {}): Database =>
  open({
    connection: parseDatabaseUrl(server.url({ port })),
    directConnection: parseDatabaseUrl(server.url()),
    settings: { connection: 'DATABASE_URL', directConnection: 'DATABASE_DIRECT_URL' },
    ...options,
  })

t.test(`the pool asks nothing of a connection beyond a transaction (${found.tool ?? 'pgbouncer'})`, { skip: found.missing }, async (t) => {
  const db = pooled({ lockTimeoutMs: 300, idleInTransactionTimeoutMs: 900 })
  const limits = sql`
    SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
      current_setting('idle_in_transaction_session_timeout') AS idle`
  t.same(await db.query(limits), [{ statement: '2s', lock: '300ms', idle: '900ms' }])
  t.same(await db.transaction((tx) => tx.query(limits), { lockTimeoutMs: 50 }), [{ statement: '2s', lock: '50ms', idle: '900ms' }])
  // On connections that others used before, and under one name.
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => db.query(named('one', sql`SELECT ${i}::int AS i, pg_sleep(0.01)::text`))))
  t.same(
    answers.map(([row]) => (row as { i: number }).i),
    Array.from({ length: 60 }, (_, i) => i),
  )
  await t.rejects(db.query(sql`SELECT pg_sleep(10)`), { code: 'busy', message: /took too long/ })
  await t.rejects(db.query(sql`SELECT 1 / 0`), { message: /division by zero/ })
  await db.execute(sql`CREATE TABLE things (id int PRIMARY KEY)`)
  await t.rejects(db.execute(sql`INSERT INTO things VALUES (1), (1)`), { code: '23505' })
  t.equal(await db.execute(sql`INSERT INTO things VALUES (1)`), 1)
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.execute(sql`INSERT INTO things VALUES (2)`)
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.same(await db.query(sql`SELECT id FROM things`), [{ id: 1 }])
  t.same(await admin.query(limits), [{ statement: '2s', lock: '30s', idle: '1min' }])
  const sessions = await admin.query<{ n: number }>(
    sql`SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = 'postgres' AND application_name = 'cairn' AND pid <> pg_backend_pid()`,
  )
  t.ok(sessions[0]!.n <= poolSize)
})

t.test('a session lock is held by the direct connection, whoever uses the pool meanwhile', { skip: found.missing }, async (t) => {
  const db = pooled()
  const holder = await db.direct()
  await holder.query(sql`SELECT pg_advisory_lock(7)`)
  for (let i = 0; i < 10; i++) t.same(await db.query(sql`SELECT pg_try_advisory_xact_lock(7) AS got`), [{ got: false }])
  await holder.close()
  const freed = async () => (await db.query<{ got: boolean }>(sql`SELECT pg_try_advisory_xact_lock(7) AS got`))[0]!.got
  while (!(await freed())) await new Promise((resolve) => setTimeout(resolve, 20))
})

t.test('a hub without a direct connection beside a pooler says what to set', { skip: found.missing }, async (t) => {
  await t.rejects(serveHub(t, { DATABASE_URL: server.url({ port, database: 'hub' }) }), {
    code: 'unavailable',
    message: /\(DATABASE_URL\): unsupported startup parameter: .*Is it a pooler\? Then set DATABASE_DIRECT_URL as well/,
  })
})

t.test('a pooler in front of another database is refused before anything is written', { skip: found.missing }, async (t) => {
  const urls = { DATABASE_URL: server.url({ port, database: 'hub' }), DATABASE_DIRECT_URL: server.url({ database: 'other' }) }
  await t.rejects(serveHub(t, urls), { code: 'config', message: /DATABASE_URL and DATABASE_DIRECT_URL lead to different databases/ })
  const other = open({ connection: parseDatabaseUrl(server.url({ database: 'other' })) })
  t.same(await other.query(sql`SELECT FROM pg_tables WHERE schemaname = 'public'`), [])
})

t.test('a whole hub behind it: pushes at once, clones, jobs', { skip: found.missing }, async (t) => {
  const hub = await serveHub(t, { DATABASE_URL: server.url({ port, database: 'hub' }), DATABASE_DIRECT_URL: server.url({ database: 'hub' }) })
  await hub.services.startJobs()
  const remote = (name: string) => `${hub.url.replace('://', `://admin:${hub.token}@`)}/admin/${name}`
  const folder = t.testdir()
  const names = Array.from({ length: 8 }, (_, i) => `pooled-${i}`)
  await Promise.all(
    names.map(async (name) => {
      t.equal((await hub.api('POST', '/api/cairn/repos', { type: 'model', id: `admin/${name}`, empty: true })).status, 200)
      const work = join(folder, name)
      await git(['init', '-q', '-b', 'main', work])
      for (const version of ['first', 'second']) {
        await writeFile(join(work, 'file'), `${name} ${version}\n`)
        await git(['add', '-A'], { cwd: work })
        await git(['commit', '-q', '-m', version], { cwd: work })
        await git(['push', '-q', remote(name), 'main'], { cwd: work })
      }
      const clone = join(folder, `${name}-clone`)
      await git(['clone', '-q', remote(name), clone])
      t.equal((await git(['show', 'HEAD:file'], { cwd: clone })).stdout.toString(), `${name} second\n`)
    }),
  )
  const jobs = open({ connection: parseDatabaseUrl(server.url({ database: 'hub' })) })
  const completed = async () =>
    (await jobs.query<{ n: number }>(sql`SELECT count(*)::int AS n FROM pgboss.job WHERE name = 'finish-deleting' AND state = 'completed'`))[0]!.n
  const deadline = performance.now() + 20_000
  while ((await completed()) === 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 100))
  t.ok((await completed()) > 0, 'a job ran')
})
