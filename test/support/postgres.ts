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
  const { url, name } = await createTestDatabase(t, await migratedTemplate)
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
