import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseDatabaseUrl } from '../../../src/config/database-url.js'

const folder = t.testdir()
const ca = join(folder, 'a ca+1.pem')
const key = join(folder, 'key.pem')
execFileSync(
  'openssl',
  ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', ca, '-subj', '/CN=ca'],
  {
    stdio: 'ignore',
  },
)
const pem = readFileSync(ca, 'utf8')
const noPem = join(folder, 'no.pem')
writeFileSync(noPem, 'nothing\n')

const complaintOf = (url: string): string => {
  try {
    parseDatabaseUrl(url)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

t.test('an address is read as libpq reads it', async (t) => {
  const cases: readonly (readonly [url: string, address: object])[] = [
    ['postgresql://db', { host: 'db', port: 5432, ssl: false }],
    ['postgres://db/', { host: 'db', port: 5432, ssl: false }],
    ['postgresql://u:p@db:6432/x', { host: 'db', port: 6432, user: 'u', password: 'p', database: 'x', ssl: false }],
    ['postgresql://u%40corp:p%3A%2F%23@db/x%20y', { host: 'db', port: 5432, user: 'u@corp', password: 'p:/#', database: 'x y', ssl: false }],
    ['postgresql://u:a#b+c@d@db/x', { host: 'db', port: 5432, user: 'u', password: 'a#b+c@d', database: 'x', ssl: false }],
    ['postgresql://u@[::1]:5433/x', { host: '::1', port: 5433, user: 'u', database: 'x', ssl: false }],
    [
      'postgresql://u:p@/x?host=/run/postgresql&port=5433',
      { host: '/run/postgresql', port: 5433, user: 'u', password: 'p', database: 'x', ssl: false },
    ],
    ['postgresql://u@%2Frun%2Fpostgresql/x', { host: '/run/postgresql', port: 5432, user: 'u', database: 'x', ssl: false }],
    ['postgresql://db?dbname=x&user=u&password=a+b%26c', { host: 'db', port: 5432, user: 'u', password: 'a+b&c', database: 'x', ssl: false }],
    ['postgresql://db/x?options=-c%20search_path%3Dhub', { host: 'db', port: 5432, database: 'x', options: '-c search_path=hub', ssl: false }],
    ['postgresql://db/x?sslmode=disable', { host: 'db', port: 5432, database: 'x', ssl: false }],
    [`postgresql://u@/x?host=/run/postgresql&sslmode=require`, { host: '/run/postgresql', port: 5432, user: 'u', database: 'x', ssl: false }],
  ]
  for (const [url, address] of cases) t.strictSame(parseDatabaseUrl(url), address, url)
})

t.test('sslmode means what it means to libpq', async (t) => {
  const tls = (query: string) => parseDatabaseUrl(`postgresql://u:p@db/x?${query}`)
  const root = `sslrootcert=${ca.replaceAll(' ', '%20')}`
  const shape = ({ ssl }: ReturnType<typeof tls>) =>
    ssl && { checksCa: ssl.rejectUnauthorized, checksName: ssl.rejectUnauthorized && ssl.checkServerIdentity === undefined, ca: ssl.ca === pem }
  t.strictSame(shape(tls('sslmode=require')), { checksCa: false, checksName: false, ca: false })
  t.strictSame(shape(tls(`sslmode=require&${root}`)), { checksCa: true, checksName: false, ca: true })
  t.strictSame(shape(tls(`sslmode=verify-ca&${root}`)), { checksCa: true, checksName: false, ca: true })
  t.strictSame(shape(tls(`sslmode=verify-full&${root}`)), { checksCa: true, checksName: true, ca: true })
  t.strictSame(shape(tls('sslmode=verify-full&sslrootcert=system')), { checksCa: true, checksName: true, ca: false })
  t.match(tls(`sslmode=require&sslcert=${encodeURIComponent(ca)}&sslkey=${encodeURIComponent(key)}`).ssl, {
    cert: pem,
    key: /PRIVATE KEY/,
  })
  t.equal(tls('sslmode=require').sslnegotiation, 'postgres')
  t.equal(tls('sslmode=require&sslnegotiation=direct').sslnegotiation, 'direct')
})

t.test('what cannot be done as asked is refused, and nothing secret is repeated', async (t) => {
  const cases: readonly (readonly [url: string, complaint: RegExp])[] = [
    ['postgresql://', /names no host/],
    ['postgresql://u:hunter2@/x', /names no host/],
    ['postgresql://u:hunter2@a,b/x', /one host/],
    ['postgresql://u:hunter2@a:1,b:2/x', /one host|port/],
    ['postgresql://u:hunter2@db:0/x', /port from 1 to 65535/],
    ['postgresql://u:hunter2@db:99999/x', /port/],
    ['postgresql://u:hunter2/3@db/x', /port/],
    ['postgresql://u:hunter2%@db/x', /%25/],
    ['postgresql://u:p@db/x?sslmod=verify-full', /the parameter sslmod, which is not known here/],
    ['postgresql://u:ab?hunter2=@db/x', /a parameter, which is not known here/],
    ['postgresql://u:p@db/x?sslmode=prefer', /sslmode of disable, require, verify-ca, verify-full/],
    ['postgresql://u:p@db/x?sslmode=', /sslmode of/],
    ['postgresql://u:p@db/x?sslmode=verify-full', /sslmode=verify-full and no sslrootcert/],
    ['postgresql://u:p@db/x?sslmode=verify-ca', /sslmode=verify-ca and no sslrootcert/],
    ['postgresql://u:p@db/x?sslmode=verify-ca&sslrootcert=system', /only goes with sslmode=verify-full/],
    ['postgresql://u:p@db/x?sslrootcert=/ca.pem', /sslrootcert and no sslmode/],
    ['postgresql://u:p@db/x?sslmode=verify-full&sslrootcert=/no/such.pem', /sslrootcert=\/no\/such\.pem: ENOENT/],
    [`postgresql://u:p@db/x?sslmode=verify-full&sslrootcert=${noPem}`, /holds no certificate/],
    ['postgresql://u:p@db/x?sslmode=require&sslcert=/c.pem', /both of sslcert and sslkey/],
    ['postgresql://u:p@db/x?sslmode=require&sslnegotiation=fast', /sslnegotiation/],
  ]
  for (const [url, complaint] of cases) {
    const said = complaintOf(url)
    t.match(said, complaint, url)
    t.notMatch(said, 'hunter2')
  }
})
