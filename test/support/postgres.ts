import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbedded } from '../../src/db/embedded/supervisor.js'
import { migrate, readMigrations } from '../../src/db/migrate.js'
import { openDatabase, type ConnectionOptions, type Database } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface TestServer {
  /** Of an administrator's database, as `postgresql://…`: what CAIRN_TEST_DATABASE holds. */
  readonly url: string
  stop(): Promise<void>
}

const statementTimeoutMs = 60_000
const templateLock = 0x74656d70

/** A server for tests, in a temporary folder; without fsync, because nobody will need its data after a power cut. */
export async function startTestServer(): Promise<TestServer> {
  const home = await mkdtemp(join(tmpdir(), 'cairn-pg-'))
  const server = await startEmbedded({ dataDirectory: home, log: () => undefined, settings: { fsync: 'off', max_connections: '300' } })
  const { host, port, user, password } = server.connection as Extract<ConnectionOptions, { host: string }>
  return {
    url: `postgresql://${user}:${password}@/postgres?host=${encodeURIComponent(host)}&port=${port}`,
    async stop() {
      await server.stop()
      await rm(home, { recursive: true, force: true })
    },
  }
}

/**
 * A migrated database of one's own, dropped when the test ends: a copy of a template on the server that CAIRN_TEST_DATABASE names,
 * or on one that is started for this process.
 */
export async function testDatabase(t: Teardown): Promise<Database> {
  const { url, name } = await createTestDatabase(t, migratedTemplate)
  const db = openDatabase({ connection: { connectionString: withDatabase(url, name) }, maxConnections: 10, statementTimeoutMs })
  t.teardown(() => db.close())
  return db
}

/** The same without any table in it. */
export async function emptyDatabase(t: Teardown): Promise<Database> {
  const { url, name } = await createTestDatabase(t, async () => 'template0')
  const db = openDatabase({ connection: { connectionString: withDatabase(url, name) }, maxConnections: 10, statementTimeoutMs })
  t.teardown(() => db.close())
  return db
}

async function createTestDatabase(t: Teardown, template: (url: string) => Promise<string>): Promise<{ readonly url: string; readonly name: string }> {
  const url = await serverUrl()
  const name = `test_${randomBytes(8).toString('hex')}`
  const from = await template(url)
  await asAdministrator(url, (db) => db.execute({ text: `CREATE DATABASE ${name} TEMPLATE ${from} STRATEGY wal_log`, values: [] }))
  // Teardowns run last first: whoever opened the database has closed it by then.
  t.teardown(() => asAdministrator(url, (db) => db.execute({ text: `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`, values: [] })))
  return { url, name }
}

let ownServer: Promise<TestServer> | undefined

/** The shared server, or one of this process that ends with its tests. */
async function serverUrl(): Promise<string> {
  const shared = process.env['CAIRN_TEST_DATABASE']
  if (shared !== undefined) return shared
  if (ownServer === undefined) {
    ownServer = startTestServer()
    const { default: tap } = await import('tap')
    tap.teardown(async () => (await ownServer)?.stop())
  }
  return (await ownServer).url
}

/** A database with all migrations, made once for each state of them, by whichever process comes first. */
async function migratedTemplate(url: string): Promise<string> {
  const migrations = await readMigrations()
  const hash = createHash('sha256')
  for (const { checksum } of migrations) hash.update(checksum)
  const name = `template_${hash.digest('hex').slice(0, 16)}`
  await asAdministrator(url, async (db) => {
    const connection = await db.direct()
    try {
      await connection.query(sql`SELECT pg_advisory_lock(${templateLock})`)
      const found = await connection.query(sql`SELECT FROM pg_database WHERE datname = ${name}`)
      if (found.length > 0) return
      const making = `${name}_new`
      await connection.execute({ text: `DROP DATABASE IF EXISTS ${making} WITH (FORCE)`, values: [] })
      await connection.execute({ text: `CREATE DATABASE ${making} TEMPLATE template0`, values: [] })
      const made = openDatabase({ connection: { connectionString: withDatabase(url, making) }, maxConnections: 1, statementTimeoutMs })
      try {
        await migrate(made)
      } finally {
        await made.close()
      }
      await connection.execute({ text: `ALTER DATABASE ${making} RENAME TO ${name}`, values: [] })
    } finally {
      await connection.close()
    }
  })
  return name
}

async function asAdministrator<T>(url: string, work: (db: Database) => Promise<T>): Promise<T> {
  const db = openDatabase({ connection: { connectionString: url }, maxConnections: 1, statementTimeoutMs })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

const withDatabase = (url: string, name: string): string => url.replace(/\/postgres(\?|$)/, `/${name}$1`)
