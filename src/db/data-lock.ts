import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { HubError } from '../errors.js'

export interface DataLock {
  release(): void
}

const sqliteBusy = 5

/**
 * Makes the data directory, or another folder of the hub that `setting` names, this process's own. The lock is a SQLite file held in an exclusive transaction: the kernel drops it with the
 * process, however that ends.
 * @throws HubError `config` when another hub has it, or the folder cannot be made or written
 */
export function takeDataLock(dataDirectory: string, setting = 'CAIRN_DATA'): DataLock {
  let database: DatabaseSync | undefined
  try {
    // Nobody looks in; the account that runs an embedded database for root must get through.
    mkdirSync(dataDirectory, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
    database = new DatabaseSync(join(dataDirectory, 'hub.lock'), { timeout: 0 })
    database.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    database?.close()
    if ((cause as { errcode?: number }).errcode === sqliteBusy) {
      throw new HubError('config', `another hub is using ${dataDirectory}: stop it first, or set ${setting} to another folder`, { cause })
    }
    throw new HubError(
      'config',
      setting === 'CAIRN_DATA' ? `cannot use the data directory ${dataDirectory} (CAIRN_DATA)` : `cannot use ${dataDirectory} (${setting})`,
      { cause },
    )
  }
  return {
    release: () => {
      if (database?.isOpen) database.close()
    },
  }
}
