import type { Config } from '../config/config.js'
import { checkServer } from '../db/check-server.js'
import { takeDataLock } from '../db/data-lock.js'
import { startEmbedded } from '../db/embedded/supervisor.js'
import { migrate } from '../db/migrate.js'
import { openDatabase, type ConnectionOptions, type Database } from '../db/pool.js'
import { createClosers, type Closers } from './closers.js'

/** What a part of the hub may say: fields and a short phrase. */
export type Log = (fields: object, phrase: string) => void

export interface OpenedDatabase {
  readonly db: Database
  /** To the server itself. */
  readonly directConnection: ConnectionOptions
  /** Last of all: pool, embedded database, lock. */
  readonly close: () => Promise<void>
}

export interface Ground extends OpenedDatabase {
  /** Names of the migrations that ran just now. */
  readonly migrated: readonly string[]
}

export type DatabaseSettings = Pick<Config, 'dataDirectory' | 'database' | 'directDatabase' | 'databaseConnections'>

const statementTimeoutMs = 60_000

/**
 * The database, whichever it is, migrated, with nobody else at our data: embedded database and spool lie in the data directory, so its lock is
 * taken first. Which hubs may share a database outside is decided by `claimStore`.
 * @throws HubError `config` when another hub has the data, or the database is none that can be used
 */
export async function openGround(config: DatabaseSettings, log: Log): Promise<Ground> {
  const { push, close } = createClosers()
  try {
    const lock = takeDataLock(config.dataDirectory)
    push(async () => lock.release())
    const opened = await openDatabaseOf(config, log)
    push(opened.close)
    return { ...opened, close, migrated: await migrate(opened.db) }
  } catch (error) {
    await close()
    throw error
  }
}

/** The database that the settings name, or the one at `running`; the embedded one is started. Whoever needs the data to himself has its lock. */
export async function openDatabaseOf(config: DatabaseSettings, log: Log, running?: ConnectionOptions): Promise<OpenedDatabase> {
  const { push, close } = createClosers()
  try {
    const { connection, directConnection } = running ? { connection: running } : await connectionOf(config, log, push)
    const db = openDatabase({
      connection,
      directConnection,
      maxConnections: config.databaseConnections,
      statementTimeoutMs,
      settings: { connection: config.database ? 'DATABASE_URL' : 'the embedded one', directConnection: 'DATABASE_DIRECT_URL' },
      onIdleError: (error) => log({ err: error }, 'an idle database connection broke'),
    })
    push(() => db.close())
    await checkServer(db)
    return { db, directConnection: directConnection ?? connection, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function connectionOf(
  config: DatabaseSettings,
  log: Log,
  push: Closers['push'],
): Promise<{ connection: ConnectionOptions; directConnection?: ConnectionOptions | undefined }> {
  if (config.database) return { connection: config.database, directConnection: config.directDatabase }
  const embedded = await startEmbedded({ dataDirectory: config.dataDirectory, log })
  log({ adopted: embedded.adopted }, embedded.adopted ? 'embedded database adopted' : 'embedded database started')
  push(async () => {
    await embedded.stop()
    log({}, 'embedded database stopped')
  })
  return { connection: embedded.connection }
}
