import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openCopySession, type CopySession } from '../../../src/db/copy-session.js'
import { emptyTables, listHubTables, sealTables, sumTable, unsealTables, type HubTable } from '../../../src/db/hub-tables.js'
import type { Database } from '../../../src/db/pool.js'
import { sql } from '../../../src/db/sql.js'
import { beginFenced, copyTables } from '../../../src/move/copy-tables.js'
import { becomes } from '../../support/becomes.js'
import { testDatabase } from '../../support/postgres.js'

const going = new AbortController().signal

async function sessionOf(t: Test, { connection }: Database, silenceMs = 30_000): Promise<CopySession> {
  const session = await openCopySession({ connection, setting: 'DATABASE_URL', silenceMs })
  t.teardown(() => session.close())
  return session
}

const addUser = (name: string) => sql`INSERT INTO namespaces (kind, name) VALUES ('user', ${name})`
const countUsers = sql`SELECT count(*) AS n FROM namespaces`

t.test('who is changing something is waited for and seen, and nobody begins before the transaction ends', async (t) => {
  const db = await testDatabase(t)
  const session = await sessionOf(t, db)
  const tables = await listHubTables(db)
  const writer = await db.direct()
  t.teardown(() => writer.close())
  await writer.execute(sql`BEGIN`)
  await writer.execute(addUser('early'))
  let fenced = false
  const fence = beginFenced(session, tables, going).then(() => (fenced = true))
  await delay(4_000) // longer than one try
  t.notOk(fenced)
  await writer.execute(sql`COMMIT`)
  await fence
  t.same(await session.query(countUsers), [{ n: 1 }])

  t.same(await db.query(countUsers), [{ n: 1 }], 'who reads is not kept')
  t.same(await db.transaction((tx) => tx.query(sql`SELECT name FROM namespaces FOR UPDATE`)), [{ name: 'early' }])
  for (const change of [
    addUser('late'),
    sql`UPDATE namespaces SET name = 'x'`,
    sql`DELETE FROM namespaces`,
    sql`INSERT INTO updates VALUES (gen_random_uuid(), NULL, 'done')`,
  ]) {
    await t.rejects(
      db.transaction((tx) => tx.execute(change), { lockTimeoutMs: 100 }),
      { code: 'busy' },
      change.text,
    )
  }
  await session.execute(sql`COMMIT`)
  t.equal(await db.execute(addUser('late')), 1)
})

t.test('a session that falls silent is ended by the server, and its locks with it', async (t) => {
  const db = await testDatabase(t)
  const session = await sessionOf(t, db, 3_000)
  await beginFenced(session, await listHubTables(db), going)
  await delay(5_000)
  t.notOk(session.lost.aborted, 'as long as it says that it lives it may take its time')
  await db.query(
    sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn migrate-store' AND datname = current_database()`,
  )
  t.ok(await becomes(() => session.lost.aborted))
  t.match(session.lost.reason, { code: 'unavailable' })
  t.equal(await db.execute(addUser('after')), 1)
})

t.test('a seal keeps everybody from changing any table, until it is taken off', async (t) => {
  const db = await testDatabase(t)
  await db.execute(addUser('ann'))
  const session = await sessionOf(t, db)
  const tables = await listHubTables(db)
  await beginFenced(session, tables, going)
  await sealTables(session, tables)
  await session.execute(sql`COMMIT`)
  for (const { name } of tables) {
    for (const change of [`DELETE FROM ${name}`, `TRUNCATE ${name} CASCADE`])
      await t.rejects(
        db.execute({ text: change, values: [] }),
        { code: 'read-only', message: 'this hub was moved, and nothing is changed here any more' },
        change,
      )
  }
  await t.rejects(db.execute(addUser('bob')), { code: 'read-only' })
  t.same(await db.query(countUsers), [{ n: 1 }])
  await db.transaction((tx) => unsealTables(tx))
  t.equal(await db.execute(addUser('bob')), 1)
})

t.test('all rows come over, with what numbers the next ones, in place of what was there', async (t) => {
  const [one, two] = [await testDatabase(t), await testDatabase(t)]
  for (const name of ['ann', 'bob', 'tab\there', 'line\nand \\N', 'Ünï 🐻']) await one.execute(addUser(name))
  await one.execute(sql`INSERT INTO tokens (namespace_id, name, role, scopes, hash) VALUES (2, 'x', 'fine-grained', '{"a": [1, null]}', '\\x00ff0a')`)
  await two.execute(addUser('left over'))
  const tables = await listHubTables(one)
  const [from, to] = [await sessionOf(t, one), await sessionOf(t, two)]
  await beginFenced(from, tables, going)
  await to.execute(sql`BEGIN`)
  t.equal(await copyTables(from, to, tables, going), 6)
  await to.execute(sql`COMMIT`)
  const all = sql`SELECT n.id, n.name, n.created_at::text, t.hash, t.scopes FROM namespaces n LEFT JOIN tokens t ON t.namespace_id = n.id ORDER BY n.id`
  t.same(await two.query(all), await one.query(all))
  t.equal(((await two.query(all))[4] as { name: string }).name, 'Ünï 🐻')
  t.same(await two.query(sql`INSERT INTO namespaces (kind, name) VALUES ('user', 'next') RETURNING id`), [{ id: 6 }])
})

t.test('a row that came over as another is found', async (t) => {
  const [one, two] = [await testDatabase(t), await testDatabase(t)]
  const tables = await listHubTables(one)
  const updates = tables.find(({ name }) => name === 'updates')!
  const row = (outcome: string) =>
    sql`INSERT INTO updates VALUES ('00000000-0000-4000-8000-000000000001', NULL, ${outcome}, '2026-01-02T03:04:05.678901Z')`
  t.same(await sumTable(one, updates), { rows: 0, sum: '0' })
  await one.execute(row('done'))
  // SHA-256 of `("2026-01-02 03:04:05.678901+00",done,,00000000-0000-4000-8000-000000000001)` begins with 95845c3057f1e9cf.
  const session = await sessionOf(t, one)
  const sum = await sumTable(session, updates)
  t.same(sum, { rows: 1, sum: '-7672906502428825137' })

  // The target changes what it is given.
  await two.execute(sql`CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.outcome := 'abandoned'; RETURN NEW; END $$`)
  await two.execute(sql`CREATE TRIGGER change BEFORE INSERT ON updates FOR EACH ROW EXECUTE FUNCTION change()`)
  const there = await sessionOf(t, two)
  await beginFenced(session, tables, going)
  await there.execute(sql`BEGIN`)
  await t.rejects(copyTables(session, there, tables, going), {
    code: 'corrupt',
    message: /^the table updates has 1 rows, sum .*, and came over as 1 rows, sum /,
  })
})

t.test('tables come after those that they refer to, whoever adds one', async (t) => {
  const db = await testDatabase(t)
  await db.execute(sql`CREATE TABLE "a new one" (repo_id bigint REFERENCES repositories, "Order" serial)`)
  const tables = await listHubTables(db)
  const at = (name: string) => tables.findIndex((table) => table.name === name)
  t.ok(at('namespaces') < at('repositories') && at('repositories') < at('a new one') && at('packs') < at('pack_inline'))
  t.same(
    tables.find(({ name }) => name === 'a new one'),
    {
      name: 'a new one',
      columns: ['Order', 'repo_id'],
      sequences: ['public."a new one_Order_seq"'],
    } satisfies HubTable,
  )
  for (const own of ['schema_migrations', 'hub_store', 'hub_move', 'moved_blob']) t.equal(at(own), -1, own)
  await emptyTables(db, tables)
})
