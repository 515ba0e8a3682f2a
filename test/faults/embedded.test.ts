import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { findNativeDirectory } from '../../src/db/embedded/binaries.js'
import { startEmbedded, type EmbeddedDatabase } from '../../src/db/embedded/supervisor.js'
import { openDatabase } from '../../src/db/pool.js'

const isRoot = process.getuid?.() === 0
const asRoot = isRoot ? false : 'this takes root'
const log = (): void => undefined

async function home(t: Test, mode = 0o755): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-embedded-'))
  chmodSync(folder, mode)
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  return folder
}

async function start(t: Test, dataDirectory: string, nativeDirectory?: string): Promise<EmbeddedDatabase> {
  await mkdir(dataDirectory, { recursive: true })
  const embedded = await startEmbedded({ dataDirectory, log, ...(nativeDirectory === undefined ? {} : { nativeDirectory }) })
  t.teardown(() => embedded.stop())
  return embedded
}

async function ask(embedded: EmbeddedDatabase, text: string): Promise<unknown[]> {
  const db = openDatabase({ connection: embedded.connection, maxConnections: 1, statementTimeoutMs: 10_000 })
  try {
    return await db.query({ text, values: [] })
  } finally {
    await db.close()
  }
}

const pidOf = (data: string): number => Number(readFileSync(join(data, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0])
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''

t.test('it runs, keeps what is written, and leaves nothing when it stops', async (t) => {
  const data = join(await home(t), 'data')
  const first = await start(t, data)
  t.equal(first.adopted, false)
  await ask(first, 'CREATE TABLE kept (id int)')
  const pid = pidOf(data)
  const { host } = first.connection as { host: string }
  t.equal(statSync(host).mode & 0o077, 0, 'the socket is for its account alone')
  t.equal(statSync(join(data, 'postgres', 'password')).mode & 0o077, 0)
  await first.stop()
  t.notOk(isAlive(pid))
  t.notOk(existsSync(host), 'the folder of the socket is gone')
  const second = await start(t, data)
  t.same(await ask(second, 'SELECT count(*)::int AS n FROM kept'), [{ n: 0 }])
  await t.rejects(ask({ ...second, connection: { ...(second.connection as object), password: 'guess' } } as EmbeddedDatabase, 'SELECT 1'), /password/)
})

t.test('as root, from a folder only root may enter, with install scripts off', { skip: asRoot }, async (t) => {
  const closed = await home(t, 0o700)
  const packageFolder = join(closed, 'package')
  cpSync(dirname(findNativeDirectory()), packageFolder, { recursive: true, verbatimSymlinks: true })
  const native = join(packageFolder, 'native')
  // What the package's install script would have made.
  for (const { target } of JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as { target: string }[])
    rmSync(join(packageFolder, target), { force: true })
  const data = join(closed, 'data')
  const unshare = spawnSync('unshare', ['--user', '--map-user=65534', '--map-group=65534', 'true']).status === 0
  if (!unshare) {
    await t.rejects(start(t, data, native), { code: 'config', message: /CAIRN_DATA[\s\S]*DATABASE_URL/ })
    return
  }
  const embedded = await start(t, data, native)
  t.same(await ask(embedded, 'SELECT 1 AS one'), [{ one: 1 }])
  t.equal(readFileSync(join(data, 'postgres', 'account'), 'utf8').trim(), 'unshare')
  await embedded.stop()
  t.equal((await start(t, data, native)).adopted, false, 'and again, in the mode that made the files')
})

t.test('as root in an open folder it runs as nobody', { skip: asRoot }, async (t) => {
  const data = join(await home(t), 'data')
  await start(t, data)
  t.equal(readFileSync(join(data, 'postgres', 'account'), 'utf8').trim(), 'nobody')
  t.equal(statSync(join(data, 'postgres', 'data')).uid, 65534)
})

t.test('one that lives on after kill -9 is adopted, its old sessions ended; one that dies is started again', async (t) => {
  const data = join(await home(t), 'data')
  await mkdir(data)
  const module = new URL('../../src/db/embedded/supervisor.js', import.meta.url).href
  const script = `import { startEmbedded } from ${JSON.stringify(module)}
    await startEmbedded({ dataDirectory: ${JSON.stringify(data)}, log() {} }); console.log('up'); setInterval(() => {}, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(owner.stdout, 'data')
  const pid = pidOf(data)
  const exited = once(owner, 'exit')
  owner.kill('SIGKILL')
  await exited
  t.ok(isAlive(pid))
  const next = await start(t, data)
  t.equal(next.adopted, true)
  t.equal(pidOf(data), pid)

  process.kill(pid, 'SIGKILL')
  const deadline = performance.now() + 40_000
  let answer: unknown[] = []
  while (answer.length === 0 && performance.now() < deadline) {
    await delay(200)
    answer = await ask(next, 'SELECT 1 AS one').catch(() => [])
  }
  t.same(answer, [{ one: 1 }], 'the same address answers again')
  t.not(pidOf(data), pid)
})

t.test('data of another major version is refused, and nothing is changed', async (t) => {
  const data = join(await home(t), 'data')
  const made = await start(t, data)
  await made.stop()
  const version = join(data, 'postgres', 'data', 'PG_VERSION')
  const written = readFileSync(version, 'utf8')
  writeFileSync(version, '12\n')
  await t.rejects(start(t, data), { code: 'config', message: /PostgreSQL 12, and this release brings 18[\s\S]*DATABASE_URL/ })
  writeFileSync(version, written)
  await start(t, data)
})

t.test('a data folder with a path too long for a socket is no hindrance', async (t) => {
  const data = join(await home(t), 'a'.repeat(80), 'b'.repeat(80), 'data')
  const embedded = await start(t, data)
  t.same(await ask(embedded, 'SELECT 1 AS one'), [{ one: 1 }])
  t.ok((embedded.connection as { host: string }).host.length < 90)
})

t.test('an initdb that was cut off leaves nothing that looks like data', async (t) => {
  const data = join(await home(t), 'data')
  await mkdir(join(data, 'postgres', 'initdb-left', 'data'), { recursive: true })
  writeFileSync(join(data, 'postgres', 'initdb-left', 'data', 'PG_VERSION'), '18\n')
  const embedded = await start(t, data)
  t.same(await ask(embedded, 'SELECT 1 AS one'), [{ one: 1 }])
  t.same(
    readdirSync(join(data, 'postgres')).filter((name) => name.startsWith('initdb-')),
    [],
  )
})

t.test('no setting of ours reaches the server, and it listens on no port', async (t) => {
  const data = join(await home(t), 'data')
  process.env['PGPORT'] = '1'
  t.teardown(() => delete process.env['PGPORT'])
  const embedded = await start(t, data)
  t.same(await ask(embedded, "SELECT current_setting('listen_addresses') AS addresses, current_setting('fsync') AS fsync"), [
    { addresses: '', fsync: 'on' },
  ])
  t.notMatch(readFileSync(`/proc/${pidOf(data)}/environ`, 'latin1'), /CAIRN_|PGPORT/)
})
