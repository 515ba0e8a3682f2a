import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../../config/config.js'
import { openDatabase } from '../../db/pool.js'
import { openStore } from '../stores.js'
import { checkAddress } from './check-address.js'
import { checkDatabase } from './check-database.js'
import { checkDisk } from './check-disk.js'
import { checkStore } from './check-store.js'
import type { Finding } from './finding.js'

const statementTimeoutMs = 15_000

/**
 * Looks at everything around the hub that the settings name: database, store, disk, public address. It may run beside a hub, changes nothing, and
 * leaves nothing behind. What a hub keeps for itself, the embedded database, is not touched.
 */
export async function* runDoctor(config: Config): AsyncGenerator<Finding> {
  yield* databaseFindings(config)
  const hubStore = await openStore(config)
  const { store, name, shared } = hubStore
  try {
    yield* checkStore({ store, name, settings: shared ? ['CAIRN_S3_ENDPOINT'] : ['CAIRN_DATA'] })
  } finally {
    await hubStore.close()
  }
  yield* checkDisk(config, { cache: shared })
  const token = config.adminToken ?? (await readFile(join(config.dataDirectory, 'admin-token'), 'utf8').catch(() => '')).trim()
  yield* checkAddress({ config, token })
}

async function* databaseFindings({ database, directDatabase }: Config): AsyncGenerator<Finding> {
  if (!database) {
    yield { check: 'database', state: 'skipped', says: 'the embedded one: the hub looks after it' }
    return
  }
  const db = openDatabase({
    connection: database,
    directConnection: directDatabase,
    maxConnections: 2,
    statementTimeoutMs,
    settings: { connection: 'DATABASE_URL', directConnection: 'DATABASE_DIRECT_URL' },
  })
  try {
    yield* checkDatabase(db)
  } finally {
    await db.close()
  }
}
