import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConnectionOptions } from '../pool.js'
import { databaseUser } from './cluster.js'
import { findPostmaster } from './postmaster.js'

/** Whether an embedded database was ever made in the data directory. */
export const hasEmbedded = (dataDirectory: string): boolean => existsSync(join(dataDirectory, 'postgres', 'data'))

/** The embedded database that somebody else runs in the data directory. Undefined: nobody does, or it takes no connections yet. */
export function findRunningEmbedded(dataDirectory: string): ConnectionOptions | undefined {
  const folder = join(dataDirectory, 'postgres')
  const running = findPostmaster(join(folder, 'data'))
  if (running?.status !== 'ready') return undefined
  const password = readFileSync(join(folder, 'password'), 'utf8').trim()
  return { host: running.socketDirectory, port: running.port, user: databaseUser, password, database: databaseUser }
}
