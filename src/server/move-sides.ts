import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { takeDataLock } from '../db/data-lock.js'
import { findRunningEmbedded, hasEmbedded } from '../db/embedded/running.js'
import { findHubStore } from '../db/hub-store.js'
import { checkMigrated, migrate } from '../db/migrate.js'
import type { ConnectionOptions } from '../db/pool.js'
import { HubError } from '../errors.js'
import { checkUnused } from '../move/claim-target.js'
import type { Side, TargetSide } from '../move/side.js'
import { createClosers, type Closers } from './closers.js'
import { ensureSecretFiles } from './secrets.js'
import { openDatabaseOf, type Log } from './ground.js'
import { openStore, type HubStore } from './stores.js'

export interface Opened<S extends Side> {
  readonly side: S
  readonly close: () => Promise<void>
}

/** What a side keeps in its data directory makes that a place of its own. */
const usesDirectory = ({ database, s3 }: Config): boolean => database === undefined || s3 === undefined

/** @throws HubError `config` when both would work in one data directory */
export function checkApart(source: Config, target: Config): void {
  if (!usesDirectory(source) || !usesDirectory(target) || source.dataDirectory !== target.dataDirectory) return
  throw new HubError('config', `source and target are both in ${source.dataDirectory}: CAIRN_DATA of the target must be another folder`)
}

/**
 * The place where a hub's data is, as its settings say. A hub may be at work there; without one, an embedded database is brought up.
 * @throws HubError `config` when no hub of this release has been there
 */
export async function openSource(config: Config, log: Log): Promise<Opened<Side>> {
  const { push, close } = createClosers()
  try {
    if (config.database === undefined && !hasEmbedded(config.dataDirectory)) {
      throw new HubError('config', `there is no hub in ${config.dataDirectory} (CAIRN_DATA)`)
    }
    const running = config.database === undefined ? takeOrFindRunning(config, push) : undefined
    const { db, directConnection, close: closeDatabase } = await openDatabaseOf(config, log, running)
    push(closeDatabase)
    await checkMigrated(db)
    if (!(await findHubStore(db))?.marked) throw new HubError('config', 'no hub has been started there yet, and there is nothing to move')
    const hubStore = await openStore(config)
    push(() => hubStore.close())
    const secretKey = config.secretKey ?? (await readSecret(config, 'secret-key'))
    if (secretKey === undefined)
      throw new HubError('config', `there is no secret key: set CAIRN_SECRET_KEY, or bring ${config.dataDirectory}/secret-key back`)
    return { side: { db, directConnection, secretKey, ...describe(config, hubStore) }, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** The database of the hub that has the data; without such a hub the data is ours. */
function takeOrFindRunning({ dataDirectory }: Config, push: Closers['push']): ConnectionOptions | undefined {
  try {
    const lock = takeDataLock(dataDirectory)
    push(async () => lock.release())
    return undefined
  } catch (error) {
    const running = findRunningEmbedded(dataDirectory)
    if (!running) throw error
    return running
  }
}

/**
 * The place where the data is to be, its database migrated; nobody else is there. What it keeps in files and was told nothing of it gets from the
 * source.
 * @throws HubError `config` when somebody uses it
 */
export async function openTarget(config: Config, log: Log, source: { readonly config: Config; readonly side: Side }): Promise<Opened<TargetSide>> {
  const { push, close } = createClosers()
  try {
    if (usesDirectory(config)) {
      const lock = takeDataLock(config.dataDirectory)
      push(async () => lock.release())
    }
    const { db, directConnection, close: closeDatabase } = await openDatabaseOf(config, log)
    push(closeDatabase)
    const hubStore = await openStore(config)
    push(() => hubStore.close())
    const described = describe(config, hubStore)
    await checkUnused(source.side, { db, ...described })
    await migrate(db)
    await hubStore.sweep()
    const secrets = {
      adminToken: config.adminToken ?? source.config.adminToken ?? (await readSecret(source.config, 'admin-token')),
      secretKey: config.secretKey ?? source.side.secretKey,
    }
    const side: TargetSide = {
      db,
      directConnection,
      secretKey: secrets.secretKey,
      ...described,
      keepSecrets: async () => (config.database === undefined ? ensureSecretFiles(config.dataDirectory, secrets) : undefined),
    }
    return { side, close }
  } catch (error) {
    await close()
    throw error
  }
}

function describe({ database, dataDirectory }: Config, { store, name }: HubStore): Pick<Side, 'store' | 'storeName' | 'place' | 'setting'> {
  const where = database
    ? `the database ${database.database ?? ''} at ${database.host}:${database.port}`
    : `the embedded database in ${dataDirectory}`
  return { store, storeName: name, place: `${where} with ${name}`, setting: database ? 'DATABASE_URL' : 'the embedded database' }
}

async function readSecret({ database, dataDirectory }: Config, name: string): Promise<string | undefined> {
  if (database) return undefined
  const text = await readFile(join(dataDirectory, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text.trim() === '' ? undefined : text.trim()
}
