import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { git, gitEnvironment } from '../support/git.js'
import { freePort, plainEnv, projectRoot } from '../support/hub.js'
import { emptyDatabase } from '../support/postgres.js'

const main = join(projectRoot, 'build/src/cli/main.js')

interface Started {
  readonly child: ChildProcess
  readonly url: string
  readonly data: string
  output(): string
  /** Waits for a line. */
  until(pattern: RegExp): Promise<void>
}

/** Starts a hub in its own way, on a fresh folder or one that is there. */
async function start(
  t: Test,
  file: string,
  args: readonly string[],
  options: { readonly data?: string; readonly port?: number } = {},
): Promise<Started> {
  const home = options.data === undefined ? await mkdtemp(join(tmpdir(), 'cairn-start-')) : undefined
  const data = options.data ?? join(home!, 'data')
  const port = options.port ?? (await freePort())
  const child = spawn(file, args, {
    cwd: projectRoot,
    env: { ...plainEnv(), CAIRN_DATA: data, CAIRN_PORT: String(port) },
    stdio: 'pipe',
    detached: true,
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString('utf8')))
  child.stdin.on('error', () => {})
  t.teardown(async () => {
    endGroup(child)
    endDatabase(data)
    if (home !== undefined) await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
  })
  const started: Started = {
    child,
    data,
    url: `http://127.0.0.1:${port}`,
    output: () => printed,
    async until(pattern) {
      const deadline = performance.now() + 60_000
      while (!pattern.test(printed)) {
        if (performance.now() > deadline || child.exitCode !== null) throw new Error(`no ${String(pattern)} in:\n${printed}`)
        await delay(20)
      }
    },
  }
  return started
}

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    // gone
  }
}

const postmasterOf = (data: string): number | undefined => {
  const path = join(data, 'postgres', 'data', 'postmaster.pid')
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split('\n')[0]) : undefined
}

function endDatabase(data: string): void {
  const pid = postmasterOf(data)
  if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL')
}

/** A process that ended and was not buried yet has no command line. */
function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''
  } catch {
    return false
  }
}

t.test('npm start runs the hub; a SIGTERM to npm ends all of it', async (t) => {
  const hub = await start(t, 'npm', ['start'])
  await hub.until(/cairn listens at/)
  t.match(hub.output(), /repo create admin\/tiny-bert/, 'the first start says what to do next')
  t.match(hub.output(), hub.data, 'and where the token is')
  t.notMatch(hub.output(), (await readFile(join(hub.data, 'admin-token'), 'utf8')).trim(), 'and not the token')
  const postmaster = postmasterOf(hub.data)!
  t.ok(isAlive(postmaster))
  const exited = once(hub.child, 'exit')
  hub.child.kill('SIGTERM')
  await exited
  const deadline = performance.now() + 30_000
  while (isAlive(postmaster) && performance.now() < deadline) await delay(50)
  t.notOk(isAlive(postmaster), 'no database is left')
  const left = spawnSync('pgrep', ['-f', hub.data], { encoding: 'utf8' }).stdout.trim()
  t.equal(left, '', 'no process is left')

  const second = await start(t, process.execPath, [main, 'serve'], { data: hub.data })
  await second.until(/listens at/)
  t.match(second.output(), /"adopted":false/)
  t.notMatch(second.output(), /tiny-bert/, 'the second start does not repeat itself')
  const stopped = once(second.child, 'exit')
  second.child.kill('SIGINT')
  t.same(await stopped, [0, null])
})

t.test('a second hub on the same data is refused, and the first goes on', async (t) => {
  const hub = await start(t, process.execPath, [main, 'serve'])
  await hub.until(/listens at/)
  const second = await start(t, process.execPath, [main, 'serve'], { data: hub.data })
  t.same(await once(second.child, 'exit'), [1, null])
  t.match(second.output(), /another hub is using .*CAIRN_DATA/)
  t.equal((await fetch(`${hub.url}/readyz`)).status, 200)
})

t.test('after kill -9 the next start adopts the database, and everything is there', async (t) => {
  const hub = await start(t, process.execPath, [main, 'serve'])
  await hub.until(/listens at/)
  const token = (await readFile(join(hub.data, 'admin-token'), 'utf8')).trim()
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  await fetch(`${hub.url}/api/repos/create`, { method: 'POST', headers, body: JSON.stringify({ name: 'kept' }) })
  const postmaster = postmasterOf(hub.data)!
  const exited = once(hub.child, 'exit')
  hub.child.kill('SIGKILL')
  await exited
  t.ok(isAlive(postmaster), 'the database lives on')
  const next = await start(t, process.execPath, [main, 'serve'], { data: hub.data, port: Number(new URL(hub.url).port) })
  await next.until(/listens at/)
  t.match(next.output(), /"adopted":true/)
  t.equal(postmasterOf(hub.data), postmaster)
  t.equal((await fetch(`${hub.url}/api/models/admin/kept`)).status, 200)
  const stopped = once(next.child, 'exit')
  next.child.kill('SIGTERM')
  t.same(await stopped, [0, null])
  t.notOk(isAlive(postmaster))
})

t.test('with DATABASE_URL nothing is embedded, and secrets must be given', async (t) => {
  const db = await emptyDatabase(t)
  const { connectionString } = db.connection as { connectionString: string }
  const refused = await start(t, process.execPath, [main, 'serve', '--database-url', connectionString])
  t.same(await once(refused.child, 'exit'), [1, null])
  t.match(refused.output(), /CAIRN_ADMIN_TOKEN must be set[\s\S]*CAIRN_SECRET_KEY must be set/)
  t.notMatch(refused.output(), connectionString)

  const token = `hf_${'b'.repeat(34)}`
  const settings = ['--database-url', connectionString, '--admin-token', token, '--secret-key', 's'.repeat(32)]
  const hub = await start(t, process.execPath, [main, 'serve', ...settings])
  await hub.until(/listens at/)
  t.notOk(existsSync(join(hub.data, 'postgres')))
  t.notOk(existsSync(join(hub.data, 'admin-token')))
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  t.equal((await fetch(`${hub.url}/api/repos/create`, { method: 'POST', headers, body: JSON.stringify({ name: 'outside' }) })).status, 200)
  const clone = join(t.testdir(), 'clone')
  await git(['clone', '-q', `${hub.url}/admin/outside`, clone])
  t.ok(existsSync(join(clone, '.gitattributes')))
  const stopped = once(hub.child, 'exit')
  hub.child.kill('SIGTERM')
  t.same(await stopped, [0, null])
  t.notMatch(hub.output(), token)
})

const hasScript = spawnSync('script', ['--version']).status === 0

t.test(
  'Ctrl-C in a real terminal during a push: the database stops last, the push fails or ends, the next start is clean',
  { skip: hasScript ? false : 'there is no script(1)' },
  async (t) => {
    const command = `exec ${process.execPath} ${main} serve`
    const hub = await start(t, 'script', ['-qefc', command, '/dev/null'])
    await hub.until(/listens at/)
    const token = (await readFile(join(hub.data, 'admin-token'), 'utf8')).trim()
    const work = join(t.testdir(), 'work')
    await git(['init', '-q', '-b', 'main', work])
    const noise = Buffer.alloc(24 * 1024 * 1024)
    for (let i = 0; i < noise.length; i += 4) noise.writeInt32LE((Math.imul(i, 2654435761) ^ (i >>> 3)) | 0, i)
    noise.fill('x', 0, 8_000) // so that it is taken for text
    await writeFile(join(work, 'noise'), noise)
    await git(['add', '-A'], { cwd: work })
    await git(['commit', '-q', '-m', 'noise'], { cwd: work })
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    await fetch(`${hub.url}/api/cairn/repos`, { method: 'POST', headers, body: JSON.stringify({ id: 'admin/stopped', empty: true }) })
    const remote = `${hub.url.replace('//', `//admin:${token}@`)}/admin/stopped`
    const push = spawn('git', ['push', '-q', remote, 'main'], { cwd: work, env: gitEnvironment() })
    const pushed = once(push, 'exit')
    await delay(150)
    const stopped = once(hub.child, 'exit')
    hub.child.stdin!.write('\x03')
    const [code] = await stopped
    t.equal(code, 0, 'Ctrl-C is a way to stop, not a failure')
    const [pushCode] = (await pushed) as [number]
    const lines = hub.output()
    t.match(lines, /stopping[\s\S]*embedded database stopped[\s\S]*stopped/)
    t.notOk(existsSync(join(hub.data, 'postgres', 'data', 'postmaster.pid')), 'the database ended properly')

    const next = await start(t, process.execPath, [main, 'serve'], { data: hub.data, port: Number(new URL(hub.url).port) })
    await next.until(/listens at/)
    t.match(next.output(), /"adopted":false/)
    t.notMatch(readFileSync(join(hub.data, 'postgres', 'log'), 'utf8'), /not properly shut down|automatic recovery/)
    const tip = (await git(['ls-remote', remote, 'refs/heads/main'])).stdout.toString().slice(0, 40)
    const oid = (await git(['rev-parse', 'HEAD'], { cwd: work })).stdout.toString().trim()
    t.ok(pushCode === 0 ? tip === oid : tip === '' || tip === oid, 'acknowledged means there')
    await git(['push', '-q', remote, 'main'], { cwd: work })
    const ended = once(next.child, 'exit')
    next.child.kill('SIGTERM')
    await ended
  },
)
