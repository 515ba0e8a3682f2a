import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HubError } from '../errors.js'
import type { Database, Queryable } from './pool.js'
import { sql } from './sql.js'

export interface Migration {
  /** File name without `.sql`: `0001-users`. Their order is the order they run in. */
  readonly name: string
  readonly text: string
  /** SHA-256 of the file, hex. */
  readonly checksum: string
}

export interface MigrateOptions {
  /** By default `migrations/` of this release. */
  readonly folder?: string
}

const ownFolder = join(import.meta.dirname, '..', '..', '..', 'migrations')
/** Any number nobody else uses: 'cairn' in ASCII. */
const lockKey = 0x636169726e

/** The migrations of a folder, in order. */
export async function readMigrations(folder: string = ownFolder): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((name) => /^\d{4}-.+\.sql$/.test(name)).toSorted()
  return Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(folder, file), 'utf8')
      return { name: file.replace(/\.sql$/, ''), text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}

/**
 * Runs what has not run yet, each file in a transaction of its own, and comes back with the names of those. Of several hubs that start
 * together one works and the others wait for it.
 * @throws HubError `config` when a file that ran was edited since, one was passed over, or the database was used by a newer release
 */
export async function migrate(db: Database, options: MigrateOptions = {}): Promise<readonly string[]> {
  const migrations = await readMigrations(options.folder)
  // A lock of the session and not of a transaction, so it needs a connection that no pooler hands around.
  const connection = await db.direct()
  try {
    await connection.query(sql`SELECT pg_advisory_lock(${lockKey})`)
    return await runMissing(connection, migrations)
  } finally {
    await connection.close() // and with it the lock
  }
}

/**
 * Makes sure that all migrations of this release ran on the database, and no others. Changes nothing.
 * @throws HubError `config` when no hub has used it, or the last was of another release
 */
export async function checkMigrated(db: Queryable): Promise<void> {
  const [found] = await db.query<{ there: boolean }>(sql`SELECT to_regclass('schema_migrations') IS NOT NULL AS there`)
  if (!found!.there) throw new HubError('config', 'no hub has used this database yet')
  const missing = checkHistory(await readMigrations(), await readHistory(db))
  if (missing.length > 0) {
    throw new HubError(
      'config',
      `the database was used by an older release of cairn last (${missing[0]!.name} did not run on it): run cairn migrate, or start this release on it`,
    )
  }
}

const readHistory = async (db: Queryable): Promise<ReadonlyMap<string, string>> => {
  const applied = await db.query<{ name: string; checksum: string }>(sql`SELECT name, checksum FROM schema_migrations`)
  return new Map(applied.map(({ name, checksum }) => [name, checksum]))
}

async function runMissing(connection: Queryable, migrations: readonly Migration[]): Promise<readonly string[]> {
  await connection.execute(sql`
    CREATE TABLE IF NOT EXISTS schema_migrations (
      name        text PRIMARY KEY,
      checksum    text NOT NULL,
      applied_at  timestamptz NOT NULL DEFAULT now()
    )`)
  const missing = checkHistory(migrations, await readHistory(connection))
  for (const migration of missing) {
    await connection.execute(sql`BEGIN`)
    try {
      await connection.execute({ text: migration.text, values: [] })
      await connection.execute(sql`INSERT INTO schema_migrations (name, checksum) VALUES (${migration.name}, ${migration.checksum})`)
      await connection.execute(sql`COMMIT`)
    } catch (cause) {
      await connection.execute(sql`ROLLBACK`).catch(() => undefined) // a lost connection rolls back by itself
      if (cause instanceof HubError) throw cause
      throw new Error(`the migration ${migration.name} failed`, { cause })
    }
  }
  return missing.map(({ name }) => name)
}

function checkHistory(migrations: readonly Migration[], applied: ReadonlyMap<string, string>): readonly Migration[] {
  const known = new Set(migrations.map(({ name }) => name))
  const unknown = [...applied.keys()].filter((name) => !known.has(name))
  if (unknown.length > 0) {
    throw new HubError('config', `the database was used by a newer release of cairn (it has ${unknown.toSorted().join(', ')}): start that one`)
  }
  const firstMissing = migrations.findIndex(({ name }) => !applied.has(name))
  for (const [i, { name, checksum }] of migrations.entries()) {
    const before = applied.get(name)
    if (before === undefined) continue
    if (before !== checksum)
      throw new HubError('config', `the migration ${name} ran on this database and was edited since: restore the file, and write a new one`)
    if (firstMissing !== -1 && i > firstMissing) {
      throw new HubError('config', `the migration ${migrations[firstMissing]!.name} never ran on this database, though the later ${name} did`)
    }
  }
  return firstMissing === -1 ? [] : migrations.slice(firstMissing)
}
