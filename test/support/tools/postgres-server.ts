import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chownSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { chooseAccount, invocation } from '../../../src/db/embedded/as-root.js'
import { findNativeDirectory } from '../../../src/db/embedded/binaries.js'
import { ensureLibraries } from '../../../src/db/embedded/libraries.js'
import { findPostmaster, processesOf } from '../../../src/db/embedded/postmaster.js'
import { freePort } from '../hub.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface PostgresServer {
  readonly port: number
  readonly password: string
  /** The same by its Unix socket. */
  readonly socketUrl: string
  /** Of the administrator `owner`, by TCP on 127.0.0.1. */
  url(options?: { readonly database?: string; readonly host?: string; readonly port?: number; readonly query?: string }): string
  start(): Promise<void>
  /** As an administrator stops it: sessions are told and ended, what is committed is kept. */
  stop(): Promise<void>
  /** As a power cut ends it: at once, and the next start recovers. */
  kill(): Promise<void>
}

export interface PostgresServerOptions {
  /** Where `bin/` and `lib/` are; by default the embedded one's. */
  readonly nativeDirectory?: string
  readonly settings?: Readonly<Record<string, string>>
  /** Files that the server reads, by name, beside its data. */
  readonly files?: Readonly<Record<string, string>>
  /** The lines of pg_hba.conf. */
  readonly hba?: readonly string[]
}

const readyMs = 60_000

/** A PostgreSQL as an operator runs one: its own process, a TCP port, a password. It is stopped and started by hand. */
export async function startPostgres(t: Teardown, options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const { nativeDirectory = findNativeDirectory(), settings = {}, files = {}, hba } = options
  const folder = await mkdtemp(join(tmpdir(), 'cairn-pg-'))
  const data = join(folder, 'data')
  const env = { PATH: process.env['PATH'] ?? '', LANG: 'C', LC_ALL: 'C', TZ: 'UTC', ...(await ensureLibraries(nativeDirectory, join(folder, 'lib'))) }
  const account = chooseAccount({ folder, postgres: join(nativeDirectory, 'bin', 'postgres'), env })
  const password = randomBytes(16).toString('hex')
  const port = await freePort()
  let child: ChildProcess | undefined
  let printed = ''

  const run = (program: string, args: readonly string[]): ChildProcess => {
    const { file, args: words, ids } = invocation(account, join(nativeDirectory, 'bin', program), args)
    const started = spawn(file, words, { ...ids, env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [started.stdout!, started.stderr!])
      stream.on('data', (chunk: Buffer) => {
        printed = (printed + chunk.toString('utf8')).slice(-10_000)
      })
    return started
  }
  const ownFile = async (path: string, text: string) => {
    await writeFile(path, text, { mode: 0o600 })
    chownSync(path, account.uid, account.gid)
  }
  const ended = async () => {
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    while (processesOf(data).length > 0) await delay(20)
  }

  const server: PostgresServer = {
    port,
    password,
    socketUrl: `postgresql://owner:${password}@/postgres?host=${encodeURIComponent(folder)}&port=${port}`,
    url: ({ database = 'postgres', host = '127.0.0.1', port: at = port, query = '' } = {}) =>
      `postgresql://owner:${password}@${host}:${at}/${database}${query === '' ? '' : `?${query}`}`,
    async start() {
      const all = {
        fsync: 'off', // nobody pulls the plug of this machine
        listen_addresses: '127.0.0.1',
        unix_socket_directories: folder,
        port: String(port),
        max_connections: '60',
        ...settings,
      }
      child = run('postgres', ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])])
      const deadline = performance.now() + readyMs
      while (findPostmaster(data)?.status !== 'ready') {
        if (child.exitCode !== null || performance.now() > deadline) throw new Error(`PostgreSQL did not start:\n${printed}`)
        await delay(20)
      }
    },
    async stop() {
      child?.kill('SIGINT')
      await ended()
    },
    async kill() {
      child?.kill('SIGQUIT')
      await ended()
    },
  }
  t.teardown(async () => {
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  })

  const passwordFile = join(folder, 'password')
  await ownFile(passwordFile, `${password}\n`)
  await mkdir(data, { mode: 0o700 })
  chownSync(data, account.uid, account.gid)
  const args = ['--username=owner', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-sync']
  const [code] = (await once(run('initdb', [`--pgdata=${data}`, ...args]), 'close')) as [number]
  if (code !== 0) throw new Error(`initdb ended with ${code}:\n${printed}`)
  for (const [name, text] of Object.entries(files)) await ownFile(join(data, name), text)
  if (hba) await ownFile(join(data, 'pg_hba.conf'), `${hba.join('\n')}\n`)
  await server.start()
  return server
}
