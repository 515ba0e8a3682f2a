import { createServer, type RequestListener, type Server } from 'node:http'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli } from '../../src/cli/commands.js'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import type { Finding } from '../../src/server/doctor/finding.js'
import { freePort } from '../support/hub.js'
import { serveHub } from '../support/served-hub.js'
import { findMinio } from '../support/tools/minio.js'
import { findNginx, startNginx } from '../support/tools/nginx.js'
import { findPgbouncer, startPgbouncer } from '../support/tools/pgbouncer.js'
import { startPostgres } from '../support/tools/postgres-server.js'

/* Each fault is planted, and `cairn doctor` has to name it and the setting to change. */

const server = await startPostgres(t)
const admin = openDatabase({ connection: parseDatabaseUrl(server.url()), maxConnections: 2, statementTimeoutMs: 10_000 })
t.teardown(() => admin.close())
const folder = await mkdtemp(join(tmpdir(), 'cairn-doctor-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))

const token = `hf_${'b'.repeat(34)}`
const sound = {
  CAIRN_DATA: join(folder, 'data'),
  DATABASE_URL: server.url(),
  CAIRN_ADMIN_TOKEN: token,
  CAIRN_SECRET_KEY: 's'.repeat(32),
}

async function doctor(env: Readonly<Record<string, string>> = {}) {
  const findings: Finding[] = []
  const err: string[] = []
  const code = await runCli(['doctor', '--json'], {
    env: { ...sound, ...env },
    out: (line) => findings.push(JSON.parse(line) as Finding),
    err: (line) => err.push(line),
  })
  return { code, findings, err, faults: findings.filter(({ state }) => state === 'fault') }
}

/** That this and nothing else is wrong, in these words, and what to change. */
async function planted(t: Test, env: Readonly<Record<string, string>>, check: string, says: RegExp, change: readonly string[]): Promise<void> {
  const { code, faults } = await doctor(env)
  t.equal(code, 1)
  t.match(faults, [{ check, says, change }])
  t.equal(faults.length, 1)
  for (const secret of [server.password, sound.CAIRN_SECRET_KEY, token]) t.notOk(JSON.stringify(faults).includes(secret), 'no secret is told')
}

const url = (change: (url: URL) => void): string => {
  const copy = new URL(server.url())
  change(copy)
  return copy.href
}

t.test('with everything sound nothing is found, and nothing is left behind', async (t) => {
  const { code, findings, err } = await doctor()
  t.same([code, err], [0, []])
  t.same(
    findings.map(({ check, state }) => `${check} ${state}`),
    [
      'database: reached ok',
      'database: clock ok',
      'database: rights ok',
      'database: sessions ok',
      'store: put ok',
      'store: get ok',
      'store: range ok',
      'store: conditional put ok',
      'store: list ok',
      'store: multipart ok',
      'store: presigned skipped',
      'store: delete ok',
      'disk: spool ok',
      'address: reached skipped',
    ],
  )
  t.match(findings[0]!.says, /^PostgreSQL 18\.\d+, without TLS, \d+ ms$/)
  t.same(await admin.query(sql`SELECT relname FROM pg_class WHERE relname LIKE 'cairn%'`), [])
  const out: string[] = []
  t.equal(await runCli(['doctor'], { env: sound, out: (line) => out.push(line), err: t.fail }), 0)
  t.match(out.at(-1), 'no fault found')
})

t.test('no database at that port', async (t) => {
  const port = String(await freePort())
  await planted(t, { DATABASE_URL: url((u) => (u.port = port)) }, 'database: reached', /no PostgreSQL listens there: .*ECONNREFUSED/, [
    'DATABASE_URL',
  ])
})

t.test('a wrong password', async (t) => {
  await planted(t, { DATABASE_URL: url((u) => (u.password = 'wrong')) }, 'database: reached', /user or password are wrong/, ['DATABASE_URL'])
})

t.test('a database that is not there', async (t) => {
  await planted(t, { DATABASE_URL: url((u) => (u.pathname = '/elsewhere')) }, 'database: reached', /the database is not there/, ['DATABASE_URL'])
})

t.test('TLS asked of a server that has none', async (t) => {
  await planted(t, { DATABASE_URL: `${server.url()}?sslmode=require` }, 'database: reached', /SSL/, ['DATABASE_URL'])
})

t.test('a user who may not make tables', async (t) => {
  await admin.execute(sql`CREATE ROLE reader LOGIN PASSWORD 'reader'`)
  const DATABASE_URL = url((u) => {
    u.username = 'reader'
    u.password = 'reader'
  })
  const { faults } = await doctor({ DATABASE_URL })
  t.match(faults, [{ check: 'database: rights', says: /its user lacks a right: .*GRANT CREATE ON SCHEMA public/, change: ['PostgreSQL'] }])
})

const pgbouncer = await findPgbouncer()
t.test('a pooler in transaction mode and no way around it', { skip: pgbouncer.missing }, async (t) => {
  const port = await startPgbouncer(t, server, { poolSize: 3 })
  const { faults } = await doctor({ DATABASE_URL: server.url({ port }) })
  t.match(faults, [{ check: 'database: reached', says: /DATABASE_DIRECT_URL/ }])
  t.equal((await doctor({ DATABASE_URL: server.url({ port }), DATABASE_DIRECT_URL: server.url() })).code, 0)
})

t.test('a spool that cannot be written to', async (t) => {
  const file = join(folder, 'a-file')
  await writeFile(file, '')
  await planted(t, { CAIRN_SPOOL_DIR: file }, 'disk: spool', /a-file cannot be written to/, ['CAIRN_SPOOL_DIR'])
})

t.test('a spool that is promised more than there is', async (t) => {
  await planted(t, { CAIRN_SPOOL_BYTES: '900TiB' }, 'disk: spool', /bytes free, and may take 989560464998400$/, [
    'CAIRN_SPOOL_BYTES',
    'CAIRN_SPOOL_DIR',
  ])
})

t.test('a store that cannot be written to', async (t) => {
  const file = join(folder, 'data-file')
  await writeFile(file, '')
  const { faults } = await doctor({ CAIRN_DATA: file, CAIRN_SPOOL_DIR: join(folder, 'spool') })
  t.match(faults, [{ check: 'store: put', change: ['CAIRN_DATA'] }])
})

const minio = (await findMinio()).found
const s3 = minio.tool ? await minio.tool.start(t) : undefined

/** Settings of a bucket that is there. */
async function soundStore(): Promise<Record<string, string>> {
  const account = s3!.account(await s3!.makeBucket())
  return {
    CAIRN_S3_ENDPOINT: account.endpoint,
    CAIRN_S3_BUCKET: account.bucket,
    CAIRN_S3_ACCESS_KEY: account.accessKey,
    CAIRN_S3_SECRET_KEY: account.secretKey,
    CAIRN_CACHE_BYTES: '1MiB',
  }
}

t.test('a bucket with everything sound, and nothing left in it', { skip: minio.missing }, async (t) => {
  const store = await soundStore()
  const { code, findings } = await doctor(store)
  t.equal(code, 0)
  t.same(
    findings.filter(({ check }) => /^(store|disk)/.test(check)).map(({ check, state }) => `${check} ${state}`),
    [
      'store: put ok',
      'store: get ok',
      'store: range ok',
      'store: conditional put ok',
      'store: list ok',
      'store: multipart ok',
      'store: presigned ok',
      'store: delete ok',
      'disk: spool ok',
      'disk: cache ok',
    ],
  )
  t.same(await s3!.contents(store['CAIRN_S3_BUCKET']!), [])
})

t.test('a store where nobody listens', { skip: minio.missing }, async (t) => {
  const CAIRN_S3_ENDPOINT = `http://127.0.0.1:${await freePort()}`
  await planted(t, { ...(await soundStore()), CAIRN_S3_ENDPOINT }, 'store: put', /ECONNREFUSED/, ['CAIRN_S3_ENDPOINT'])
})

t.test('a bucket that is not there', { skip: minio.missing }, async (t) => {
  await planted(t, { ...(await soundStore()), CAIRN_S3_BUCKET: 'nowhere' }, 'store: put', /NoSuchBucket.*make it, or name another/, [
    'CAIRN_S3_BUCKET',
  ])
})

t.test('an access key the store does not know', { skip: minio.missing }, async (t) => {
  await planted(t, { ...(await soundStore()), CAIRN_S3_ACCESS_KEY: 'somebody' }, 'store: put', /InvalidAccessKeyId/, ['CAIRN_S3_ACCESS_KEY'])
})

t.test('a wrong secret key', { skip: minio.missing }, async (t) => {
  await planted(t, { ...(await soundStore()), CAIRN_S3_SECRET_KEY: 'wrong-secret-key' }, 'store: put', /SignatureDoesNotMatch/, [
    'CAIRN_S3_SECRET_KEY',
  ])
})

t.test('a public endpoint that clients cannot reach', { skip: minio.missing }, async (t) => {
  const CAIRN_S3_PUBLIC_ENDPOINT = `http://127.0.0.1:${await freePort()}`
  await planted(t, { ...(await soundStore()), CAIRN_S3_PUBLIC_ENDPOINT }, 'store: presigned', /the address clients are given, does not answer/, [
    'CAIRN_S3_PUBLIC_ENDPOINT',
    'CAIRN_TRANSFER',
  ])
})

t.test('a public endpoint that is something else', { skip: minio.missing }, async (t) => {
  const CAIRN_S3_PUBLIC_ENDPOINT = await front(t, (_request, response) => response.writeHead(403).end())
  await planted(t, { ...(await soundStore()), CAIRN_S3_PUBLIC_ENDPOINT }, 'store: presigned', /refused a signed PUT with 403/, [
    'CAIRN_S3_PUBLIC_ENDPOINT',
  ])
})

const nginx = await findNginx()

/** A hub behind nginx with `deploy/nginx.conf`, changed. */
async function behindNginx(
  t: Test,
  change: (site: string) => string,
  env: Readonly<Record<string, string>> = { CAIRN_TRUSTED_PROXIES: '127.0.0.1' },
) {
  const [hubPort, port] = [await freePort(), await freePort()]
  const CAIRN_PUBLIC_URL = `http://127.0.0.1:${port}`
  await serveHub(t, { CAIRN_PUBLIC_URL, CAIRN_PORT: String(hubPort), ...env })
  const hub = `127.0.0.1:${hubPort}`
  await startNginx(t, { program: nginx.tool!, hubs: [hub, hub], port, change })
  return { CAIRN_PUBLIC_URL, ...env }
}

t.test('a proxy as the manual sets it up', { skip: nginx.missing }, async (t) => {
  const { faults, findings } = await doctor(await behindNginx(t, (site) => site))
  t.same(faults, [])
  t.match(findings.at(-1), { check: 'address: proxy headers', says: /^127\.0\.0\.1 is trusted|^no proxy/ })
})

t.test('a proxy that lets no large body through', { skip: nginx.missing }, async (t) => {
  const env = await behindNginx(t, (site) => site.replace('client_max_body_size 0;', 'client_max_body_size 1m;'))
  const { faults } = await doctor(env)
  t.match(faults, [{ check: 'address: body', says: /client_max_body_size 0/, change: ['the proxy'] }])
})

t.test('a proxy that gathers requests', { skip: nginx.missing }, async (t) => {
  const env = await behindNginx(t, (site) => site.replace('proxy_request_buffering off;', 'proxy_request_buffering on;'))
  const { faults } = await doctor(env)
  t.match(faults, [{ check: 'address: body', says: /proxy_request_buffering off/, change: ['the proxy'] }])
})

t.test('a proxy that is not trusted', { skip: nginx.missing }, async (t) => {
  const { faults } = await doctor(await behindNginx(t, (site) => site, {}))
  t.match(faults, [{ check: 'address: proxy headers', says: /is not trusted/, change: ['CAIRN_TRUSTED_PROXIES'] }])
})

/** What stands in front of a hub, and does as it is told. */
async function front(t: Test, answer: RequestListener): Promise<string> {
  const proxy: Server = createServer(answer)
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => proxy.close(resolve)))
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

t.test('a public address where nobody listens', async (t) => {
  const CAIRN_PUBLIC_URL = `http://127.0.0.1:${await freePort()}`
  await planted(t, { CAIRN_PUBLIC_URL }, 'address: reached', /does not answer: .*ECONNREFUSED/, ['CAIRN_PUBLIC_URL', 'the proxy'])
})

t.test('a public address that leads to something else', async (t) => {
  const CAIRN_PUBLIC_URL = await front(t, (_request, response) => response.end('hello'))
  await planted(t, { CAIRN_PUBLIC_URL }, 'address: reached', /answers 200, and not as a hub does/, ['CAIRN_PUBLIC_URL', 'the proxy'])
})

t.test('a public address that is the hub itself', async (t) => {
  const port = String(await freePort())
  const CAIRN_PUBLIC_URL = `http://127.0.0.1:${port}`
  const hub = await serveHub(t, { CAIRN_PUBLIC_URL, CAIRN_PORT: port })
  t.equal(hub.url, CAIRN_PUBLIC_URL)
  const { faults, findings } = await doctor({ CAIRN_PUBLIC_URL })
  t.same(faults, [])
  t.match(findings.slice(-3), [
    { check: 'address: reached', says: /leads to a hub/ },
    { check: 'address: body', says: '2097152 bytes pass as they come' },
    { check: 'address: proxy headers', says: 'no proxy in between, we come from 127.0.0.1' },
  ])
  const wrong = await doctor({ CAIRN_PUBLIC_URL, CAIRN_ADMIN_TOKEN: `hf_${'c'.repeat(34)}` })
  t.match(wrong.faults, [{ check: 'address: body', says: /does not take our token \(401\)/, change: ['CAIRN_PUBLIC_URL', 'CAIRN_ADMIN_TOKEN'] }])
})
