import { connect, createServer, type Socket } from 'node:net'
import { inspect } from 'node:util'
import t from 'tap'
import {
  CommitOutcomeUnknown,
  isConnectionLost,
  isLockTimeout,
  isUniqueViolation,
  openDatabase,
  type Database,
  type DatabaseOptions,
} from '../../../src/db/pool.js'
import { sql } from '../../../src/db/sql.js'
import { emptyDatabase } from '../../support/postgres.js'

const db = await emptyDatabase(t)
await db.execute(sql`CREATE TABLE things (id bigint PRIMARY KEY, name text UNIQUE)`)

const address = (): { readonly host: string; readonly port: number; readonly url: string } => {
  const { connectionString } = db.connection as { connectionString: string }
  const url = new URL(connectionString.replace('@/', '@placeholder/'))
  return { host: url.searchParams.get('host')!, port: Number(url.searchParams.get('port')), url: connectionString }
}

t.test('values come back as what they are', async (t) => {
  const [row] = await db.query<Record<string, unknown>>(sql`
    SELECT ${2 ** 53 - 1}::bigint AS big, ARRAY[1, NULL, ${2 ** 40}]::bigint[] AS bigs, ${Buffer.from([0, 255])}::bytea AS bytes, ${['a', "b'"]}::text[] AS texts, ${null}::text AS none`)
  t.same(row, { big: 9007199254740991, bigs: [1, null, 1099511627776], bytes: Buffer.from([0, 255]), texts: ['a', "b'"], none: null })
  await t.rejects(db.query(sql`SELECT ${'9007199254740993'}::bigint AS over`), { message: /over 2\^53/ })
})

t.test('a transaction is all or nothing', async (t) => {
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.execute(sql`INSERT INTO things VALUES (1, 'one')`)
      throw new Error('changed my mind')
    }),
    { message: 'changed my mind' },
  )
  t.same(await db.query(sql`SELECT * FROM things`), [])
  t.equal(await db.transaction((tx) => tx.execute(sql`INSERT INTO things VALUES (1, 'one'), (2, 'two')`)), 2)
  const duplicate = await db.execute(sql`INSERT INTO things VALUES (3, 'one')`).catch((error: unknown) => error)
  t.ok(isUniqueViolation(duplicate) && isUniqueViolation(duplicate, 'things_name_key') && !isUniqueViolation(duplicate, 'other'))
})

t.test('a failed statement that is swallowed does not pass for a commit', async (t) => {
  const swallowed = db.transaction(async (tx) => {
    await tx.execute(sql`INSERT INTO things VALUES (4, 'four')`)
    await tx.execute(sql`SELECT 1 / 0`).catch(() => undefined)
  })
  await t.rejects(swallowed, { message: /rolled back/ })
  t.same(await db.query(sql`SELECT * FROM things WHERE id = 4`), [])
})

t.test('the pool says how much of it is in use', async (t) => {
  const { connectionString } = db.connection as { connectionString: string }
  const small = openDatabase({ connection: { connectionString }, maxConnections: 2, statementTimeoutMs: 60_000 })
  t.teardown(() => small.close())
  t.same(small.usage(), { connections: 0, idle: 0, waiting: 0 })
  const work = [1, 2, 3].map(() => small.transaction((tx) => tx.query(sql`SELECT pg_sleep(0.2)`)))
  t.same(small.usage(), { connections: 2, idle: 0, waiting: 1 })
  await Promise.all(work)
  t.same(small.usage(), { connections: 2, idle: 2, waiting: 0 })
})

t.test('a lock is waited for as long as said', async (t) => {
  const holder = await db.direct()
  await holder.execute(sql`BEGIN`)
  await holder.execute(sql`SELECT FROM things WHERE id = 1 FOR UPDATE`)
  const started = performance.now()
  const error = await db
    .transaction((tx) => tx.execute(sql`SELECT FROM things WHERE id = 1 FOR UPDATE`), { lockTimeoutMs: 200 })
    .catch((caught: unknown) => caught)
  t.ok(isLockTimeout(error))
  t.ok(performance.now() - started >= 190)
  await holder.close()
})

/** A pool on the same database with limits of its own. */
function limited(t: { teardown(work: () => unknown): void }, options: Partial<DatabaseOptions>): Database {
  const { connection } = db
  const pool = openDatabase({ connection, maxConnections: 1, statementTimeoutMs: 5_000, ...options })
  t.teardown(() => pool.close())
  return pool
}

t.test('who gets no connection of the pool is told so after a set time', async (t) => {
  const one = limited(t, { connectTimeoutMs: 300 })
  const held = one.query(sql`SELECT pg_sleep(1.5)`)
  const started = performance.now()
  await t.rejects(one.query(sql`SELECT 1`), { code: 'unavailable' })
  await t.rejects(
    one.transaction(async () => undefined),
    { code: 'unavailable' },
  )
  t.ok(performance.now() - started < 1_200, 'before the connection was free')
  await held
  t.same(await one.query(sql`SELECT 1 AS one`), [{ one: 1 }])
})

t.test('a statement that takes too long, a lock that is not had, a deadlock: busy, and nothing has happened', async (t) => {
  const quick = limited(t, { statementTimeoutMs: 200, maxConnections: 2 })
  await t.rejects(quick.query(sql`SELECT pg_sleep(5)`), { code: 'busy', message: /took too long/ })
  const impatient = limited(t, { lockTimeoutMs: 200, maxConnections: 2 })
  const holder = await db.direct()
  await holder.execute(sql`BEGIN`)
  await holder.execute(sql`UPDATE things SET name = 'held' WHERE id = 1`)
  const error = await impatient.execute(sql`UPDATE things SET name = 'other' WHERE id = 1`).catch((caught: unknown) => caught)
  t.match(error, { code: 'busy', message: /lock/ })
  t.ok(isLockTimeout(error))
  await holder.close()
  const both = [1, 2]
  const swap = async (order: readonly number[]) =>
    db.transaction(async (tx) => {
      await tx.execute(sql`UPDATE things SET name = name WHERE id = ${order[0]}`)
      await new Promise((resolve) => setTimeout(resolve, 200))
      await tx.execute(sql`UPDATE things SET name = name WHERE id = ${order[1]}`)
    })
  const ends = await Promise.allSettled([swap(both), swap(both.toReversed())])
  const failed = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
  t.match(failed, [{ code: 'busy', message: /waited for each other/ }])
  t.equal(failed.length, 1)
})

t.test('a transaction in which nothing happens is ended, and the pool goes on', async (t) => {
  const idle = limited(t, { idleInTransactionTimeoutMs: 100 })
  const forgotten = idle.transaction(async (tx) => {
    await tx.execute(sql`INSERT INTO things VALUES (20, 'twenty')`)
    await new Promise((resolve) => setTimeout(resolve, 400))
    await tx.execute(sql`SELECT 1`)
  })
  await t.rejects(forgotten, { code: 'unavailable' })
  t.same(await idle.query(sql`SELECT FROM things WHERE id = 20`), [])
})

t.test('a server that is full, or wants another password, is unavailable, and the setting is named', async (t) => {
  const { connectionString } = db.connection as { connectionString: string }
  const wrong = limited(t, {
    connection: { connectionString: connectionString.replace(/:[^:@]*@/, ':hunter2@') },
    settings: { connection: 'DATABASE_URL', directConnection: 'DATABASE_DIRECT_URL' },
  })
  const error = await wrong.query(sql`SELECT 1`).catch((caught: unknown) => caught as Error)
  t.match(error, { code: 'unavailable', message: /\(DATABASE_URL\): password authentication failed for user/ })
  t.notMatch(inspect(error, { depth: 10 }), 'hunter2')
})

t.test('a database that is not there is unavailable', async (t) => {
  const nowhere = openDatabase({
    connection: { host: '/nowhere', port: 1, user: 'x', password: 'x', database: 'x' },
    maxConnections: 1,
    statementTimeoutMs: 1000,
  })
  await t.rejects(nowhere.query(sql`SELECT 1`), { code: 'unavailable' })
  await t.rejects(
    nowhere.transaction(async () => undefined),
    { code: 'unavailable' },
  )
  await t.rejects(nowhere.direct(), { code: 'unavailable' })
  await nowhere.close()
})

/** A wire to the server that can be cut when a statement passes. */
async function throughWire(t: { teardown(work: () => unknown): void }, cutAt: (bytes: Buffer) => boolean): Promise<Database> {
  const { host, port, url } = address()
  const server = createServer((client: Socket) => {
    const upstream = connect(`${host}/.s.PGSQL.${port}`)
    client.on('data', (bytes: Buffer) => {
      upstream.write(bytes)
      // The statement has reached the server; its answer never comes back.
      if (cutAt(bytes)) client.destroy()
    })
    upstream.on('data', (bytes: Buffer) => client.write(bytes))
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => undefined)
      one.on('close', () => setTimeout(() => other.destroy(), 200))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = url.replace(/host=[^&]*/, 'host=127.0.0.1').replace(/port=\d+/, `port=${(server.address() as { port: number }).port}`)
  const wired = openDatabase({ connection: { connectionString: through }, maxConnections: 2, statementTimeoutMs: 5000 })
  t.teardown(async () => {
    await wired.close()
    server.close()
  })
  return wired
}

t.test('a connection that dies at COMMIT leaves the outcome unknown, and says so', async (t) => {
  const wired = await throughWire(t, (bytes) => bytes.includes('COMMIT'))
  const error = await wired.transaction((tx) => tx.execute(sql`INSERT INTO things VALUES (10, 'ten')`)).catch((caught: unknown) => caught)
  t.ok(error instanceof CommitOutcomeUnknown)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal((await db.query(sql`SELECT FROM things WHERE id = 10`)).length, 1, 'here it stands')
})

t.test('a connection that dies before it is a plain failure, and the pool goes on', async (t) => {
  let cuts = 0
  const wired = await throughWire(t, (bytes) => bytes.includes('eleven') && cuts++ === 0)
  const error = await wired.transaction((tx) => tx.execute(sql`INSERT INTO things VALUES (11, 'eleven')`)).catch((caught: unknown) => caught)
  t.notOk(error instanceof CommitOutcomeUnknown)
  t.ok(isConnectionLost(error))
  t.same(await db.query(sql`SELECT FROM things WHERE id = 11`), [])
  t.equal(await wired.transaction((tx) => tx.execute(sql`INSERT INTO things VALUES (11, 'eleven')`)), 1)
})

t.test('a server that falls silent is taken for gone, and what was asked of it is not waited for longer', async (t) => {
  const { host, port, url } = address()
  let silent = false
  const wires = new Set<Socket>()
  const server = createServer((client: Socket) => {
    const upstream = connect(`${host}/.s.PGSQL.${port}`)
    for (const wire of [client, upstream]) wires.add(wire.on('error', () => undefined))
    client.on('data', (bytes: Buffer) => void (silent || upstream.write(bytes)))
    upstream.on('data', (bytes: Buffer) => void (silent || client.write(bytes)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = url.replace(/host=[^&]*/, 'host=127.0.0.1').replace(/port=\d+/, `port=${(server.address() as { port: number }).port}`)
  const wired = openDatabase({ connection: { connectionString: through }, maxConnections: 1, statementTimeoutMs: 200, connectTimeoutMs: 500 })
  t.teardown(async () => {
    for (const wire of wires) wire.destroy()
    server.close()
    await wired.close()
  })
  t.same(await wired.query(sql`SELECT 1 AS one`), [{ one: 1 }])
  silent = true
  await t.rejects(wired.query(sql`SELECT 2 AS two`), { code: 'unavailable', message: /Query read timeout/ })
  await t.rejects(wired.query(sql`SELECT 3 AS three`), { code: 'unavailable' }, 'nor is there a new connection')
  silent = false
  t.same(await wired.query(sql`SELECT 4 AS four`), [{ four: 4 }])
})
