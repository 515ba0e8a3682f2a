import { HubError } from '../errors.js'
import type { Database, Queryable } from './pool.js'
import { sql } from './sql.js'

/** The oldest major version that the tests run on. */
const oldestMajor = 15

/**
 * Looks at the server before anything is written to it.
 * @throws HubError `config` when it is too old, or pooler and direct connection lead to different databases
 */
export async function checkServer(db: Database): Promise<void> {
  const connection = await db.direct()
  try {
    const direct = await identify(connection)
    if (Math.floor(direct.version / 10_000) < oldestMajor)
      throw new HubError('config', `the database is PostgreSQL ${direct.shown}, and this release needs ${oldestMajor} or newer: see DATABASE_URL`)
    const pooled = await identify(db)
    if (pooled.database !== direct.database)
      throw new HubError('config', 'DATABASE_URL and DATABASE_DIRECT_URL lead to different databases: the pooler must be in front of the same one')
  } finally {
    await connection.close()
  }
}

interface Server {
  /** 180004 for 18.4. */
  readonly version: number
  readonly shown: string
  /** The same wherever it is asked from. */
  readonly database: string
  /** How it keeps text, such as `UTF8`. */
  readonly encoding: string
}

/** Names a database among all there are, wherever it is asked from. */
export async function identifyDatabase(db: Queryable): Promise<{ readonly database: string; readonly encoding: string }> {
  const { database, encoding } = await identify(db)
  return { database, encoding }
}

async function identify(db: Queryable): Promise<Server> {
  const [server] = await db.query<Server>(sql`
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS shown,
      current_setting('server_encoding') AS encoding,
      (SELECT system_identifier FROM pg_control_system()) || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) AS database`)
  return server!
}
