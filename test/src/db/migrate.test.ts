import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { migrate, readMigrations } from '../../../src/db/migrate.js'
import { sql } from '../../../src/db/sql.js'
import { emptyDatabase } from '../../support/postgres.js'
import { projectRoot } from '../../support/hub.js'

async function folderOf(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-migrations-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return folder
}

const two = { '0001-a.sql': 'CREATE TABLE a (id int)', '0002-b.sql': 'CREATE TABLE b (id int); INSERT INTO b VALUES (1)' }

t.test('runs what has not run, in order, once', async (t) => {
  const db = await emptyDatabase(t)
  const folder = await folderOf(t, { ...two, 'notes.txt': 'no migration' })
  t.same(await migrate(db, { folder }), ['0001-a', '0002-b'])
  t.same(await migrate(db, { folder }), [])
  await writeFile(join(folder, '0003-c.sql'), 'ALTER TABLE a ADD name text')
  t.same(await migrate(db, { folder }), ['0003-c'])
})

t.test('of several at once one works and the others wait for it', async (t) => {
  const db = await emptyDatabase(t)
  const folder = await folderOf(t, { '0001-slow.sql': 'CREATE TABLE s (id int); SELECT pg_sleep(0.5)' })
  const ran = await Promise.all([migrate(db, { folder }), migrate(db, { folder }), migrate(db, { folder })])
  t.same(ran.flat(), ['0001-slow'])
})

t.test('a file that fails leaves nothing of itself, and those before it stay', async (t) => {
  const db = await emptyDatabase(t)
  const folder = await folderOf(t, { ...two, '0003-bad.sql': 'CREATE TABLE c (id int); SELECT 1 / 0' })
  await t.rejects(migrate(db, { folder }), { message: /0003-bad failed/ })
  t.same(await db.query(sql`SELECT name FROM schema_migrations ORDER BY name`), [{ name: '0001-a' }, { name: '0002-b' }])
  t.same(await db.query(sql`SELECT FROM pg_tables WHERE tablename = 'c'`), [])
})

t.test('history is not to be changed', async (t) => {
  const db = await emptyDatabase(t)
  const folder = await folderOf(t, two)
  await migrate(db, { folder })
  const edited = await folderOf(t, { ...two, '0001-a.sql': 'CREATE TABLE a (id bigint)' })
  await t.rejects(migrate(db, { folder: edited }), { code: 'config', message: /0001-a ran on this database and was edited/ })
  const older = await folderOf(t, { '0001-a.sql': two['0001-a.sql'] })
  await t.rejects(migrate(db, { folder: older }), { code: 'config', message: /newer release.*0002-b/ })
  const between = await folderOf(t, { ...two, '0001-aa.sql': 'SELECT 1' })
  await t.rejects(migrate(db, { folder: between }), { code: 'config', message: /0001-aa never ran.*0002-b did/ })
})

t.test('our own migrations run on an empty database, one idea a file', async (t) => {
  const db = await emptyDatabase(t)
  const own = await readMigrations()
  t.same(
    await migrate(db),
    own.map(({ name }) => name),
  )
  for (const { name } of own) t.match(name, /^\d{4}-[a-z-]+$/)
  const folder = await folderOf(t, {})
  await cp(join(projectRoot, 'migrations'), folder, { recursive: true })
  t.equal((await readFile(join(folder, `${own[0]!.name}.sql`), 'utf8')).length > 0, true)
})
