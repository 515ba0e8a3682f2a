import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HubError } from '../../errors.js'
import { invocation, type Account } from './as-root.js'

/** Of the database's owner. The database within the cluster has the same name. */
export const databaseUser = 'cairn'

export interface ClusterOptions {
  /** Holds `data/`, and beside it what makes it usable: `password`, `account`, `socket`, `log`. */
  readonly folder: string
  readonly nativeDirectory: string
  readonly account: Account
  readonly env: Readonly<Record<string, string>>
}

export interface Cluster {
  readonly dataFolder: string
  readonly password: string
  readonly created: boolean
}

/** What an interrupted initdb leaves; never the name of a whole cluster. */
const unfinishedPrefix = 'initdb-'

/**
 * The data folder with a whole cluster in it: the one that is there, or a new one, made under another name and renamed, so that a
 * start cut off half-way leaves nothing that looks like a cluster.
 * @throws HubError `config` when what is there is of another major version, or its password is gone
 */
export async function ensureCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder } = options
  for (const name of await readdir(folder)) {
    // The initdb of a killed hub may still be writing there.
    if (name.startsWith(unfinishedPrefix)) await rm(join(folder, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
  const dataFolder = join(folder, 'data')
  const passwordFile = join(folder, 'password')
  if (existsSync(dataFolder)) {
    checkVersion(dataFolder, options)
    if (!existsSync(passwordFile))
      throw new HubError('config', `${passwordFile} is gone, and without it the database beside it cannot be opened: put it back from a backup`)
    return { dataFolder, password: readFileSync(passwordFile, 'utf8').trim(), created: false }
  }
  const password = existsSync(passwordFile) ? readFileSync(passwordFile, 'utf8').trim() : await createPassword(passwordFile)
  await createData(options, dataFolder, password)
  return { dataFolder, password, created: true }
}

async function createPassword(path: string): Promise<string> {
  const password = randomBytes(32).toString('base64url')
  const temporary = `${path}.new`
  await rm(temporary, { force: true })
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(`${password}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  return password
}

async function createData({ folder, nativeDirectory, account, env }: ClusterOptions, dataFolder: string, password: string): Promise<void> {
  const unfinished = await mkdtemp(join(folder, unfinishedPrefix))
  const passwordCopy = join(unfinished, 'password')
  const created = join(unfinished, 'data')
  await mkdir(created, { mode: 0o700 })
  await writeFile(passwordCopy, `${password}\n`, { mode: 0o600 })
  for (const path of [unfinished, passwordCopy, created]) chownSync(path, account.uid, account.gid)
  const { file, args, ids } = invocation(account, join(nativeDirectory, 'bin', 'initdb'), [
    `--pgdata=${created}`,
    `--username=${databaseUser}`,
    `--pwfile=${passwordCopy}`,
    '--auth=scram-sha-256',
    '--data-checksums',
    '--encoding=UTF8',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
    '--no-instructions',
  ])
  const child = spawn(file, args, { ...ids, env, cwd: unfinished, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-4_000)
    })
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (status, signal) => resolve(status ?? signal ?? 'nothing'))
  })
  if (code !== 0) {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    throw new HubError('unavailable', `the embedded database could not be made: initdb ended with ${code}: ${output.trim()}`)
  }
  await rename(created, dataFolder)
  await rm(unfinished, { recursive: true, force: true })
  const parent = await open(folder, 'r')
  try {
    await parent.sync()
  } finally {
    await parent.close()
  }
}

function checkVersion(dataFolder: string, { nativeDirectory }: ClusterOptions): void {
  const path = join(dataFolder, 'PG_VERSION')
  const written = existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
  if (written === undefined)
    throw new HubError('config', `${dataFolder} holds no PostgreSQL data: restore it from a backup, or set CAIRN_DATA to another folder`)
  const own = majorOf(nativeDirectory)
  if (written === own) return
  throw new HubError(
    'config',
    `the data in ${dataFolder} was written by PostgreSQL ${written}, and this release brings ${own}. ` +
      `Nothing was changed. Start the release that wrote it; the data moves as a dump, written there (\`cairn backup\`, or pg_dump ${written}) ` +
      'and read into an empty data folder of this release or a PostgreSQL of yours (DATABASE_URL)',
  )
}

function majorOf(nativeDirectory: string): string {
  const text = readFileSync(join(nativeDirectory, 'share', 'postgresql', 'postgres.bki'), 'utf8').slice(0, 100)
  return /^# PostgreSQL (\d+)/.exec(text)?.[1] ?? 'another version'
}
