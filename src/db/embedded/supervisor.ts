import { spawn } from 'node:child_process'
import { chmodSync, closeSync, mkdirSync, openSync, readSync, realpathSync, renameSync, rmSync, statSync, fstatSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { HubError } from '../../errors.js'
import { openDatabase, type ConnectionOptions, type Database } from '../pool.js'
import { sql } from '../sql.js'
import { chooseAccount, invocation, type Account } from './as-root.js'
import { findNativeDirectory } from './binaries.js'
import { databaseUser, ensureCluster } from './cluster.js'
import { ensureLibraries } from './libraries.js'
import { findPostmaster, hasPidFile, processesOf, type Postmaster } from './postmaster.js'
import { makeSocketFolder, rememberedSocketFolder } from './socket-folder.js'

export interface EmbeddedOptions {
  /** The hub's; the database lives in `postgres/` below it. The caller holds its lock. */
  readonly dataDirectory: string
  readonly log: (fields: object, phrase: string) => void
  /** Of PostgreSQL's own settings, those that differ from ours. They hold from the next start of a server. */
  readonly settings?: Readonly<Record<string, string>>
  /** Where `bin/` and `lib/` are; by default the package for this platform. */
  readonly nativeDirectory?: string
}

export interface EmbeddedDatabase {
  readonly connection: ConnectionOptions
  /** A server of an earlier hub was still running and is used on. */
  readonly adopted: boolean
  /** Bounded: 15 s for a fast shutdown, then 5 s for an immediate one, from which it recovers at the next start. */
  stop(): Promise<void>
}

const port = 5432
/** Recovery after a crash reads the whole log since the last checkpoint. */
const startTimeoutMs = 15 * 60_000
const startNoteMs = 10_000
const orphanTimeoutMs = 30_000
const sessionTimeoutMs = 20_000
const fastStopMs = 15_000
const immediateStopMs = 5_000
const watchMs = 1_000
const pollMs = 20
const maxLogBytes = 16 * 1024 * 1024

const ownSettings = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '60',
  // Workers share memory that a small /dev/shm, or a logout under systemd, takes away. Nothing here is worth their start.
  max_parallel_workers_per_gather: '0',
  // What fails is told to the hub, which knows whether it matters.
  log_min_error_statement: 'panic',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

/**
 * The embedded PostgreSQL: made when there is none, adopted when one lives on from a killed hub, started otherwise, and started again
 * when it dies. Resolves when it takes connections and all sessions of earlier hubs are gone: a COMMIT outlives its client.
 *
 * It runs in a session of its own, so a Ctrl-C in the terminal reaches the hub alone and the database is stopped last. It listens on a
 * Unix socket only, in a folder of the hub's own outside the data directory, whose path may be too long for a socket.
 * @throws HubError `config` when it cannot run here: the account, the data's version, the programs; `unavailable` when it does not start
 */
export async function startEmbedded({
  dataDirectory,
  log,
  settings = {},
  nativeDirectory = findNativeDirectory(),
}: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const folder = join(dataDirectory, 'postgres')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const env = { ...plainEnv(), ...(await ensureLibraries(nativeDirectory, join(realpathSync(folder), 'lib'))) }
  const account = chooseAccount({ folder: realpathSync(folder), postgres: join(nativeDirectory, 'bin', 'postgres'), env })
  const cluster = await ensureCluster({ folder: realpathSync(folder), nativeDirectory, account, env })
  if (cluster.created) log({ folder, mode: account.mode }, 'embedded database made')
  const server = new Server({
    folder: realpathSync(folder),
    dataFolder: cluster.dataFolder,
    nativeDirectory,
    account,
    env,
    settings: { ...ownSettings, ...settings },
    log,
  })

  let adopted = await server.up()
  const connectionTo = (database: string): ConnectionOptions => ({
    host: server.socketDirectory,
    port,
    user: databaseUser,
    password: cluster.password,
    database,
  })
  try {
    if (adopted && !(await inherit(connectionTo('postgres'), log))) {
      log({}, 'the database that was still running is started anew')
      await server.down()
      adopted = await server.up()
    }
    await ensureDatabase(connectionTo('postgres'))
  } catch (error) {
    await server.down()
    throw error
  }
  const unwatch = server.watch()
  return {
    connection: connectionTo(databaseUser),
    adopted,
    stop: () => {
      unwatch()
      return server.down()
    },
  }
}

interface ServerOptions {
  readonly folder: string
  readonly dataFolder: string
  readonly nativeDirectory: string
  readonly account: Account
  readonly env: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, string>>
  readonly log: EmbeddedOptions['log']
}

/** One server on one data folder. Whose child it is does not matter: what counts is what it wrote about itself. */
class Server {
  readonly #options: ServerOptions
  #socketDirectory: string | undefined
  #stopping = false
  constructor(options: ServerOptions) {
    this.#options = options
  }

  get socketDirectory(): string {
    if (this.#socketDirectory === undefined) throw new Error('the database was not started')
    return this.#socketDirectory
  }

  /** Resolves when a server takes connections: with true when it was somebody else who started it. */
  async up(): Promise<boolean> {
    const { dataFolder, log } = this.#options
    this.#stopping = false
    const started = performance.now()
    let noteAt = startNoteMs
    let exit: { readonly code: number | string } | undefined
    let ours: number | undefined
    let attempts = 0
    for (;;) {
      const running = findPostmaster(dataFolder)
      if (running?.status === 'ready' && (ours !== undefined || this.#canReach(running))) {
        this.#socketDirectory = running.socketDirectory
        return running.pid !== ours
      }
      if (running?.status === 'ready')
        await this.#end(running) // nobody can talk to it any more
      else if (!running && (ours === undefined || exit !== undefined)) {
        // Another start may have been quicker, or orphans of a killed server still hold its memory.
        if (exit !== undefined && attempts >= 5) throw this.#failed(exit.code)
        if (attempts > 0) await delay(300)
        await this.#clearRemains()
        exit = undefined
        attempts++
        ours = this.#spawn((code) => {
          exit = { code }
        })
      }
      const waited = performance.now() - started
      if (waited > startTimeoutMs)
        throw new HubError('unavailable', `the embedded database was not ready in ${startTimeoutMs / 60_000} minutes: see ${this.#logFile}`)
      if (waited > noteAt) {
        noteAt += startNoteMs
        log({ seconds: Math.round(waited / 1000) }, 'the database is still starting')
      }
      await delay(pollMs)
    }
  }

  /** Ends the server, bounded, and removes its socket's folder. */
  async down(): Promise<void> {
    this.#stopping = true
    const running = findPostmaster(this.#options.dataFolder)
    if (running) await this.#end(running)
    if (this.#socketDirectory !== undefined) rmSync(this.#socketDirectory, { recursive: true, force: true })
    this.#socketDirectory = undefined
  }

  /** Starts the server again when it dies. Comes back with how to stop watching. */
  watch(): () => void {
    const { dataFolder, log } = this.#options
    let restarting = false
    const look = () => {
      if (restarting || this.#stopping || findPostmaster(dataFolder)) return
      restarting = true
      log({ err: new Error('the embedded database ended by itself') }, 'the embedded database died and is started again')
      this.up()
        .then(
          () => (this.#stopping ? this.down() : undefined),
          (error: unknown) => log({ err: error }, 'the embedded database does not start'),
        )
        .finally(() => {
          restarting = false
        })
    }
    const timer = setInterval(look, watchMs).unref()
    return () => clearInterval(timer)
  }

  get #logFile(): string {
    return join(this.#options.folder, 'log')
  }

  #canReach({ socketDirectory, port: itsPort }: Postmaster): boolean {
    return itsPort === port && statSync(join(socketDirectory, `.s.PGSQL.${port}`), { throwIfNoEntry: false }) !== undefined
  }

  /** Waits for orphans of a killed server, and takes away what would make a new one believe that it still runs. */
  async #clearRemains(): Promise<void> {
    const { dataFolder, folder } = this.#options
    if (!hasPidFile(dataFolder)) return
    const deadline = performance.now() + orphanTimeoutMs
    while (processesOf(dataFolder).length > 0 && !findPostmaster(dataFolder)) {
      if (performance.now() > deadline) {
        throw new HubError('unavailable', `processes of a database that died still work in ${dataFolder}: ${processesOf(dataFolder).join(', ')}`)
      }
      await delay(pollMs)
    }
    if (findPostmaster(dataFolder)) return
    // Its number may belong to anybody by now, and PostgreSQL would only see that it lives.
    rmSync(join(dataFolder, 'postmaster.pid'), { force: true })
    const remembered = rememberedSocketFolder(folder)
    if (remembered !== undefined && remembered !== this.#socketDirectory) rmSync(remembered, { recursive: true, force: true })
  }

  #spawn(onExit: (code: number | string) => void): number | undefined {
    const { folder, dataFolder, nativeDirectory, account, env, settings } = this.#options
    // A pool that knows the old folder must find a server that was started again.
    this.#socketDirectory ??= makeSocketFolder({ folder, account, env })
    const size = statSync(this.#logFile, { throwIfNoEntry: false })?.size ?? 0
    if (size > maxLogBytes) renameSync(this.#logFile, `${this.#logFile}.old`)
    const output = openSync(this.#logFile, 'a', 0o600)
    try {
      const all = { ...settings, unix_socket_directories: this.#socketDirectory, port: String(port) }
      const { file, args, ids } = invocation(account, join(nativeDirectory, 'bin', 'postgres'), [
        '-D',
        dataFolder,
        ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ])
      const child = spawn(file, args, { ...ids, env, cwd: folder, detached: true, stdio: ['ignore', output, output] })
      child.on('error', (error) => onExit(error.message))
      child.on('exit', (code, signal) => onExit(code ?? signal ?? 'nothing'))
      child.unref() // it ends by stop(), or lives on and is adopted
      return child.pid
    } finally {
      closeSync(output)
    }
  }

  async #end({ pid }: Postmaster): Promise<void> {
    const { dataFolder, log } = this.#options
    for (const [signal, boundMs] of [
      ['SIGINT', fastStopMs],
      ['SIGQUIT', immediateStopMs],
    ] as const) {
      try {
        process.kill(pid, signal)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
      const deadline = performance.now() + boundMs
      while (performance.now() < deadline) {
        if (findPostmaster(dataFolder)?.pid !== pid) return
        await delay(pollMs)
      }
      log({ pid, signal, boundMs }, 'the database does not stop')
    }
  }

  #failed(code: number | string): HubError {
    const { folder } = this.#options
    const file = openSync(this.#logFile, 'r')
    try {
      const { size } = fstatSync(file)
      const tail = Buffer.alloc(Math.min(size, 1_000))
      readSync(file, tail, 0, tail.length, size - tail.length)
      const said = tail.toString('utf8').trim().split('\n').slice(-4).join(' | ')
      return new HubError('unavailable', `the embedded database in ${folder} did not start, it ended with ${code}: ${said}`)
    } finally {
      closeSync(file)
    }
  }
}

/** Ends what earlier hubs left running in the server. False when they do not go, or it does not let us in. */
async function inherit(connection: ConnectionOptions, log: EmbeddedOptions['log']): Promise<boolean> {
  const db = openDatabase({ connection, maxConnections: 1, statementTimeoutMs: sessionTimeoutMs })
  try {
    const deadline = performance.now() + sessionTimeoutMs
    while (performance.now() < deadline) {
      const others = await db.query(sql`
        SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
      if (others.length === 0) return true
      await delay(pollMs)
    }
    return false
  } catch (error) {
    log({ err: error }, 'the database that was still running cannot be used')
    return false
  } finally {
    await db.close()
  }
}

async function ensureDatabase(connection: ConnectionOptions): Promise<void> {
  const db: Database = openDatabase({ connection, maxConnections: 1, statementTimeoutMs: 60_000 })
  try {
    const found = await db.query(sql`SELECT FROM pg_database WHERE datname = ${databaseUser}`)
    if (found.length === 0) await db.execute({ text: `CREATE DATABASE ${databaseUser}`, values: [] })
  } finally {
    await db.close()
  }
}

/** None of our own settings and secrets, none of the person's who started us, no PG* that would steer the server. */
function plainEnv(): Record<string, string> {
  const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env
  return { PATH, LANG: 'C', LC_ALL: 'C', TZ: 'UTC' }
}
