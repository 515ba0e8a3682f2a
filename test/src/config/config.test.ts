import { join } from 'node:path'
import t from 'tap'
import { loadConfig, type Env } from '../../../src/config/config.js'
import { freeBytes } from '../../../src/config/free-bytes.js'
import { complaintOf } from '../../support/complaints.js'

const token = `hf_${'a'.repeat(34)}`
const secret = 's'.repeat(32)

t.test('with nothing configured there is a hub on loopback, in one folder', async (t) => {
  const config = loadConfig({ PATH: '/bin' })
  t.match(config, {
    host: '127.0.0.1',
    port: 8080,
    dataDirectory: join(process.cwd(), 'cairn-data'),
    spoolDirectory: join(process.cwd(), 'cairn-data', 'spool'),
    cacheDirectory: join(process.cwd(), 'cairn-data', 'cache'),
    cacheBytes: 8589934592,
    ingestBytes: 134217728,
    tableBytes: 268435456,
    answerBytes: 67108864,
    maxPackBytes: 10737418240,
    allowedHosts: [],
    trustedProxies: [],
  })
  t.equal(config.database, undefined)
  t.equal(config.databaseConnections, 20)
  t.equal(config.publicUrl, undefined)
  t.ok(config.workers >= 2)
  t.ok(config.spoolBytes > 0 && config.spoolBytes <= freeBytes('/') * 2)
  t.ok(Object.isFrozen(config))
})

t.test('values are read as people write them', async (t) => {
  t.match(
    loadConfig({
      CAIRN_HOST: '0.0.0.0',
      CAIRN_PORT: '0',
      CAIRN_DATA: '/var/lib/cairn',
      CAIRN_PUBLIC_URL: 'https://hub.example/models/',
      CAIRN_ALLOWED_HOSTS: ' hub.local , hub:9000,',
      CAIRN_TRUSTED_PROXIES: '10.0.0.0/8',
      CAIRN_SPOOL_BYTES: '1.5 GiB',
      CAIRN_CACHE_BYTES: '1048576',
      CAIRN_INGEST_BYTES: '64MiB',
      CAIRN_TRANSFER: 'proxy',
      CAIRN_WORKERS: '7',
      CAIRN_METRICS_TOKEN: 'measure-me-please',
      CAIRN_SPOOL_DIR: '',
      CAIRN_URL: 'http://somewhere.else',
      CAIRN_TOKEN: 'mine',
    }),
    {
      host: '0.0.0.0',
      port: 0,
      dataDirectory: '/var/lib/cairn',
      spoolDirectory: '/var/lib/cairn/spool',
      publicUrl: 'https://hub.example/models',
      allowedHosts: ['hub.local', 'hub:9000'],
      trustedProxies: ['10.0.0.0/8'],
      spoolBytes: 1610612736,
      cacheBytes: 1048576,
      ingestBytes: 67108864,
      workers: 7,
      metricsToken: 'measure-me-please',
    },
  )
  const outside = loadConfig({ DATABASE_URL: 'postgresql://u:p@db/x', CAIRN_ADMIN_TOKEN: token, CAIRN_SECRET_KEY: secret })
  const socket = 'postgresql://u:p@/x?host=/run/postgresql'
  t.match(loadConfig({ DATABASE_URL: socket, CAIRN_ADMIN_TOKEN: token, CAIRN_SECRET_KEY: secret }).database, {
    host: '/run/postgresql',
    database: 'x',
  })
  t.match(outside, { database: { host: 'db', user: 'u', password: 'p', database: 'x' }, adminToken: token, secretKey: secret })
})

t.test('one error has every complaint, and no secret', async (t) => {
  const complaint = complaintOf({
    CAIRN_PORT: '70000',
    CAIRN_WORKERS: 'many',
    CAIRN_SPOOL_BYTES: '5 bananas',
    CAIRN_PUBLIC_URL: 'ftp://hub',
    CAIRN_ADMIN_TOKEN: 'hf_tooShort',
    CAIRN_SECRET_KEY: 'letmein',
    DATABASE_URL: 'mysql://root:hunter2@db/x',
    CAIRN_PROT: '80',
    CAIRN_S3_BUCKET: 'models',
    CAIRN_S3_SECRET_KEY: 'open sesame',
    CAIRN_TRANSFER: 'direct',
  })
  t.same(
    complaint
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(' ')[0]),
    [
      'CAIRN_PROT',
      'DATABASE_URL',
      'CAIRN_ADMIN_TOKEN',
      'CAIRN_SECRET_KEY',
      'CAIRN_S3_ENDPOINT',
      'CAIRN_S3_ACCESS_KEY',
      'CAIRN_S3_SECRET_KEY',
      'CAIRN_PORT',
      'CAIRN_PUBLIC_URL',
      'CAIRN_TRANSFER',
      'CAIRN_SPOOL_BYTES',
      'CAIRN_WORKERS',
    ],
  )
  for (const given of ['hunter2', 'letmein', 'tooShort', 'sesame']) t.notMatch(complaint, given)
})

t.test('each setting has its limits', async (t) => {
  const cases: readonly (readonly [env: Env, complaint: RegExp])[] = [
    [{ CAIRN_PORT: '-1' }, /CAIRN_PORT must be a whole number from 0 to 65535/],
    [{ CAIRN_PORT: '8080.5' }, /CAIRN_PORT/],
    [{ CAIRN_WORKERS: '0' }, /CAIRN_WORKERS must be a whole number from 1 to 256/],
    [{ CAIRN_INGEST_BYTES: '1' }, /CAIRN_INGEST_BYTES must be at least/],
    [{ CAIRN_CACHE_BYTES: '99999999 TiB' }, /CAIRN_CACHE_BYTES/],
    [{ CAIRN_HOST: 'a b' }, /CAIRN_HOST/],
    [{ CAIRN_METRICS_TOKEN: 'fifteen-letters' }, /^the settings are wrong: CAIRN_METRICS_TOKEN must have at least 16 characters, [^-]*$/],
    [{ CAIRN_METRICS_TOKEN: 'sixteen letters in words' }, /CAIRN_METRICS_TOKEN/],
    [{ CAIRN_PUBLIC_URL: 'http://u:p@hub' }, /CAIRN_PUBLIC_URL must have neither credentials nor a query/],
    [{ CAIRN_PUBLIC_URL: 'http://hub?x=1' }, /CAIRN_PUBLIC_URL/],
    [{ CAIRN_PUBLIC_URL: 'http://' }, /CAIRN_PUBLIC_URL is no address/],
    [{ CAIRN_DATABASE_CONNECTIONS: '1' }, /CAIRN_DATABASE_CONNECTIONS must be a whole number from 2 to 1000/],
    [{ CAIRN_DATABASE_CONNECTIONS: '41' }, /CAIRN_DATABASE_CONNECTIONS may be 40 at most with the embedded database/],
    [{ DATABASE_URL: 'postgresql://u:p@db/x?sslmode=prefer' }, /DATABASE_URL must have an sslmode of/],
    [{ DATABASE_DIRECT_URL: 'postgres://db' }, /DATABASE_DIRECT_URL goes with DATABASE_URL/],
    [{ DATABASE_URL: 'postgres://db' }, /CAIRN_ADMIN_TOKEN must be set[\s\S]*CAIRN_SECRET_KEY must be set/],
    [{ CAIRN_CONTENT_URL: 'https://content' }, /CAIRN_CONTENT_URL/],
    [{ CAIRN_TRANSFER: 'carrier pigeon' }, /CAIRN_TRANSFER must be 'proxy' or 'direct'/],
    [{ CAIRN_ADMIN_TOKEN: 'secret' }, /^the settings are wrong: CAIRN_ADMIN_TOKEN must be 'hf_'/],
  ]
  for (const [env, complaint] of cases) t.match(complaintOf(env), complaint, JSON.stringify(env))
})
