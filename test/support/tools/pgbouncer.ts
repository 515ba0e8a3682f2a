import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../hub.js'
import type { PostgresServer } from './postgres-server.js'
import { findTool, runTool, type Found } from './run-tool.js'

interface Teardown {
  teardown(work: () => unknown): void
}

/** What the pgbouncer of this machine calls itself. */
export const findPgbouncer = (): Promise<Found<string>> =>
  findTool('pgbouncer', async () => (await runTool('pgbouncer', ['--version'])).split('\n')[0]!)

const readyMs = 10_000

/**
 * A pgbouncer in transaction mode in front of the server, with nothing else set that would make it forgiving. It has `poolSize` connections to each
 * database, which all clients share. Comes back with its port on 127.0.0.1; names and passwords are the server's.
 */
export async function startPgbouncer(t: Teardown, server: PostgresServer, { poolSize }: { readonly poolSize: number }): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-pgbouncer-'))
  const [port, users, settings] = [await freePort(), join(folder, 'users.txt'), join(folder, 'pgbouncer.ini')]
  await writeFile(users, `"owner" "${server.password}"\n`, { mode: 0o600 })
  await writeFile(
    settings,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${server.port}`,
      '[pgbouncer]',
      'pool_mode = transaction',
      `default_pool_size = ${poolSize}`,
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${users}`,
    ].join('\n'),
    { mode: 0o600 },
  )
  // It refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const nobody = isRoot ? Number(await runTool('id', ['-u', 'nobody'])) : 0
  if (isRoot) for (const path of [folder, users, settings]) chownSync(path, nobody, nobody)
  const asNobody = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
  const child = spawn('env', [...(isRoot ? asNobody : []), 'pgbouncer', settings], { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      printed = (printed + chunk.toString('utf8')).slice(-10_000)
    })
  t.teardown(async () => {
    const gone = child.exitCode !== null || child.signalCode !== null || once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    await rm(folder, { recursive: true, force: true })
  })
  const deadline = performance.now() + readyMs
  while (!(await listens(port))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`pgbouncer did not start:\n${printed}`)
    await delay(20)
  }
  return port
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })
}
