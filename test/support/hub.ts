import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { callApi, type CallApi } from './api.js'

/** The checkout (or wherever `build/` lies). */
export const projectRoot = join(import.meta.dirname, '..', '..', '..')
const startTimeoutMs = 60_000

export interface Hub {
  readonly url: string
  readonly token: string
  readonly dataDirectory: string
  readonly child: ChildProcess
  /** What the hub printed so far. */
  output(): string
  /** The same with credentials in it, for git. `path` such as `admin/x`. */
  remote(path: string, token?: string): string
  readonly api: CallApi
  /** SIGTERM, and waits. Comes back with the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL of the hub process alone; what it supervises lives on. */
  kill(): Promise<void>
  /** Again on the same data and port. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>
}

interface Teardown {
  teardown(work: () => unknown): void
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/**
 * A hub of its own in a process of its own: embedded database, fresh data folder, free port, where `env` says nothing else.
 * Stopped and removed when the test ends.
 */
export async function startHub(
  t: Teardown,
  options: { readonly env?: Readonly<Record<string, string>>; readonly nodeArgs?: readonly string[] } = {},
): Promise<Hub> {
  const home = await mkdtemp(join(tmpdir(), 'cairn-hub-'))
  const dataDirectory = options.env?.['CAIRN_DATA'] ?? join(home, 'data')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  let child: ChildProcess
  let printed = ''
  let token = ''

  const start = async (env: Readonly<Record<string, string>> = {}): Promise<void> => {
    child = spawn(process.execPath, [...(options.nodeArgs ?? []), join(projectRoot, 'build/src/cli/main.js'), 'serve'], {
      cwd: home,
      env: { ...plainEnv(), CAIRN_DATA: dataDirectory, CAIRN_PORT: String(port), ...options.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk: Buffer) => {
        printed = (printed + chunk.toString('utf8')).slice(-200_000)
      })
    await untilReady(url, child, () => printed)
    token = options.env?.['CAIRN_ADMIN_TOKEN'] ?? (await readFile(join(dataDirectory, 'admin-token'), 'utf8')).trim()
  }
  await start()

  const hub: Hub = {
    url,
    dataDirectory,
    get token() {
      return token
    },
    get child() {
      return child
    },
    output: () => printed,
    remote: (path, as = token) => `${url.replace('http://', `http://user:${as}@`)}/${path}`,
    api: callApi(url, () => token),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      return exited
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
    },
    async restart(env) {
      await hub.kill()
      await start(env)
    },
  }
  t.teardown(async () => {
    // A killed hub leaves its database behind: only a hub stops it.
    if (child.exitCode !== null || child.signalCode !== null) await start().catch(() => undefined)
    await hub.stop()
    await rm(home, { recursive: true, force: true })
  })
  return hub
}

/** The environment without what would steer a hub or git. */
export function plainEnv(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CAIRN_|GIT_|DATABASE_|PG)/.test(name))) as Record<string, string>
}

async function untilReady(url: string, child: ChildProcess, printed: () => string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the hub ended with ${child.exitCode ?? child.signalCode}:\n${printed()}`)
    const ready = await fetch(`${url}/readyz`).then(
      (response) => response.ok,
      () => false,
    )
    if (ready) return
    await delay(50)
  }
  throw new Error(`the hub was not ready in ${startTimeoutMs} ms:\n${printed()}`)
}
