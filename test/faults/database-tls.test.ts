import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { plainEnv, projectRoot } from '../support/hub.js'
import { serveHub } from '../support/served-hub.js'
import { startPostgres } from '../support/tools/postgres-server.js'
import { runTool } from '../support/tools/run-tool.js'

const folder = t.testdir()
const file = (name: string) => join(folder, name)
const openssl = (...args: string[]) => runTool('openssl', args)
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** A company's own authority, and what it signs. */
async function makeAuthority(name: string): Promise<void> {
  await openssl('req', '-x509', ...newKey, '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`), '-subj', `/CN=${name}`)
}
async function sign(authority: string, name: string, subject: string, alternative?: string): Promise<void> {
  await openssl(
    'req',
    ...newKey,
    '-keyout',
    file(`${name}.key`),
    '-out',
    file(`${name}.csr`),
    '-subj',
    `/CN=${subject}`,
    ...(alternative === undefined ? [] : ['-addext', `subjectAltName=${alternative}`]),
  )
  await openssl(
    'x509',
    '-req',
    '-in',
    file(`${name}.csr`),
    '-CA',
    file(`${authority}.pem`),
    '-CAkey',
    file(`${authority}.key`),
    '-copy_extensions',
    'copy',
    '-out',
    file(`${name}.pem`),
  )
}

await makeAuthority('company')
await makeAuthority('stranger')
await sign('company', 'server', 'db.company.example', 'DNS:localhost')
await sign('company', 'owner', 'owner')
const pem = (name: string) => readFileSync(file(name), 'utf8')
const server = await startPostgres(t, {
  settings: { ssl: 'on', ssl_cert_file: 'server.pem', ssl_key_file: 'server.key', ssl_ca_file: 'company.pem' },
  files: { 'server.pem': pem('server.pem'), 'server.key': pem('server.key'), 'company.pem': pem('company.pem') },
  hba: ['hostssl certified all 127.0.0.1/32 cert', 'hostssl all all 127.0.0.1/32 scram-sha-256'],
})

/** What the server sees of a connection, or why there is none. */
async function ask(url: string): Promise<unknown> {
  const settings = { connection: 'DATABASE_URL', directConnection: 'DATABASE_DIRECT_URL' }
  const db = openDatabase({ connection: parseDatabaseUrl(url), maxConnections: 1, statementTimeoutMs: 5_000, settings })
  try {
    const [seen] = await db.query<{ ssl: boolean; client_dn: string | null }>(
      sql`SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()`,
    )
    return seen
  } catch (error) {
    return (error as Error).message
  } finally {
    await db.close()
  }
}

const secured = { ssl: true, client_dn: null }
const company = `sslrootcert=${encodeURIComponent(file('company.pem'))}`
const stranger = `sslrootcert=${encodeURIComponent(file('stranger.pem'))}`

t.test('each sslmode checks what it says, and no more', async (t) => {
  const cases: readonly (readonly [host: string, query: string, seen: unknown])[] = [
    ['localhost', 'sslmode=require', secured],
    ['127.0.0.1', 'sslmode=require', secured],
    ['127.0.0.1', `sslmode=require&${company}`, secured],
    ['localhost', `sslmode=require&${stranger}`, /^the database cannot be reached \(DATABASE_URL\): .*certificate/],
    ['127.0.0.1', `sslmode=verify-ca&${company}`, secured],
    ['localhost', `sslmode=verify-ca&${stranger}`, /\(DATABASE_URL\): .*certificate/],
    ['localhost', `sslmode=verify-full&${company}`, secured],
    ['127.0.0.1', `sslmode=verify-full&${company}`, /\(DATABASE_URL\): .*127\.0\.0\.1.*cert/],
    ['localhost', `sslmode=verify-full&${stranger}`, /\(DATABASE_URL\): .*certificate/],
    ['localhost', 'sslmode=verify-full&sslrootcert=system', /\(DATABASE_URL\): .*certificate/],
    ['localhost', 'sslmode=disable', /\(DATABASE_URL\): no pg_hba\.conf entry .* no encryption/],
    ['localhost', '', /\(DATABASE_URL\): no pg_hba\.conf entry .* no encryption/],
  ]
  for (const [host, query, expected] of cases) {
    const seen = await ask(server.url({ host, query }))
    if (expected instanceof RegExp) t.match(seen, expected, `${host} ${query}`)
    else t.same(seen, expected, `${host} ${query}`)
  }
})

t.test('a certificate of our own takes the place of the password', async (t) => {
  const admin = openDatabase({ connection: parseDatabaseUrl(server.url({ query: 'sslmode=require' })), maxConnections: 1, statementTimeoutMs: 5_000 })
  await admin.execute(sql`CREATE DATABASE certified`)
  await admin.close()
  const keys = `sslcert=${encodeURIComponent(file('owner.pem'))}&sslkey=${encodeURIComponent(file('owner.key'))}`
  const url = (query: string) => server.url({ host: 'localhost', database: 'certified', query }).replace(/:[^:@]*@/, '@')
  t.same(await ask(url(`sslmode=verify-full&${company}&${keys}`)), { ssl: true, client_dn: '/CN=owner' })
  t.match(await ask(url(`sslmode=verify-full&${company}`)), /\(DATABASE_URL\): connection requires a valid client certificate/)
})

t.test('a hub runs over TLS: pool, session locks and jobs', async (t) => {
  const database = openDatabase({
    connection: parseDatabaseUrl(server.url({ query: 'sslmode=require' })),
    maxConnections: 1,
    statementTimeoutMs: 5_000,
  })
  await database.execute(sql`CREATE DATABASE hub`)
  t.teardown(() => database.close())
  const hub = await serveHub(t, { DATABASE_URL: server.url({ host: 'localhost', database: 'hub', query: `sslmode=verify-full&${company}` }) })
  await hub.services.startJobs()
  t.equal((await hub.api('POST', '/api/repos/create', { name: 'x', type: 'model' })).status, 200)
  t.equal((await fetch(`${hub.url}/readyz`)).status, 200)
  const sessions = await database.query(sql`
    SELECT DISTINCT application_name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE datname = 'hub' ORDER BY 1`)
  t.same(sessions, [
    { application_name: 'cairn', ssl: true },
    { application_name: 'cairn jobs', ssl: true },
  ])
})

t.test('a hub that may not connect says which setting, and no password', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'cairn-hub-'))
  t.teardown(() => rm(data, { recursive: true, force: true }))
  const start = async (query: string) => {
    const child = spawn(process.execPath, [join(projectRoot, 'build/src/cli/main.js'), 'serve'], {
      env: {
        ...plainEnv(),
        CAIRN_DATA: data,
        CAIRN_PORT: '0',
        DATABASE_URL: server.url({ query }),
        CAIRN_ADMIN_TOKEN: `hf_${'a'.repeat(34)}`,
        CAIRN_SECRET_KEY: 's'.repeat(32),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: code as number, said: out + err }
  }
  for (const [query, expected] of [
    [`sslmode=verify-full&${stranger}`, /\(DATABASE_URL\): .*certificate/],
    [`sslmode=verify-full&${company}`, /\(DATABASE_URL\): .*127\.0\.0\.1/],
    ['sslmode=prefer', /DATABASE_URL must have an sslmode of disable, require, verify-ca, verify-full/],
    [`sslmode=verify-full&sslrootcert=${encodeURIComponent(file('none.pem'))}`, /DATABASE_URL names a file that cannot be read \(sslrootcert=/],
  ] as const) {
    const { code, said } = await start(query)
    t.equal(code, 1)
    t.match(said, expected)
    t.notMatch(said, server.password)
  }
})
