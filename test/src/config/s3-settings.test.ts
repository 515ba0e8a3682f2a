import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig, type Env } from '../../../src/config/config.js'
import { complaintOf } from '../../support/complaints.js'

const needed = {
  CAIRN_S3_ENDPOINT: 'http://minio:9000',
  CAIRN_S3_BUCKET: 'models',
  CAIRN_S3_ACCESS_KEY: 'cairn',
  CAIRN_S3_SECRET_KEY: 'open/sesame+1',
}

t.test('without an S3 store blobs are on disk', async (t) => {
  t.match(loadConfig({}), { s3: undefined, transfer: 'proxy' })
})

t.test('an address, a bucket and keys are enough', async (t) => {
  t.same(loadConfig(needed).s3, {
    endpoint: 'http://minio:9000',
    publicEndpoint: 'http://minio:9000',
    bucket: 'models',
    region: 'us-east-1',
    accessKey: 'cairn',
    secretKey: 'open/sesame+1',
    addressing: 'path',
    ca: undefined,
  })
  t.ok(Object.isFrozen(loadConfig(needed).s3))
})

t.test('everything can be said', async (t) => {
  const folder = t.testdir()
  const [key, certificate] = [join(folder, 'ca.key'), join(folder, 'ca.pem')]
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=ca', '-keyout', key, '-out', certificate],
    {
      stdio: 'ignore',
    },
  )
  const config = loadConfig({
    ...needed,
    CAIRN_S3_ENDPOINT: 'https://s3.internal/',
    CAIRN_S3_PUBLIC_ENDPOINT: 'https://s3.example:8443',
    CAIRN_S3_REGION: 'eu-central-1',
    CAIRN_S3_ADDRESSING: 'host',
    CAIRN_S3_CA_FILE: certificate,
    CAIRN_TRANSFER: 'direct',
  })
  t.match(config, {
    transfer: 'direct',
    s3: { endpoint: 'https://s3.internal', publicEndpoint: 'https://s3.example:8443', region: 'eu-central-1', addressing: 'host' },
  })
  t.equal(config.s3?.ca, readFileSync(certificate, 'utf8'))
})

t.test('some of it without the rest is refused, by name', async (t) => {
  for (const name of Object.keys(needed)) {
    t.equal(complaintOf({ ...needed, [name]: '' }), `the settings are wrong: ${name} must be set with the other settings of the S3 store`)
  }
  t.equal(complaintOf({ CAIRN_S3_REGION: 'eu-central-1' }).split('\n').length, 5)
  t.equal(
    complaintOf({ CAIRN_TRANSFER: 'direct' }),
    "the settings are wrong: CAIRN_TRANSFER 'direct' needs an S3 store: CAIRN_S3_ENDPOINT and what goes with it",
  )
})

t.test('what is wrong is refused, and no secret repeated', async (t) => {
  const broken = join(t.testdir(), 'broken.pem')
  writeFileSync(broken, 'no certificate')
  const cases: readonly (readonly [env: Env, complaint: RegExp])[] = [
    [{ CAIRN_S3_ENDPOINT: 'minio:9000' }, /CAIRN_S3_ENDPOINT must be an address that begins with http:\/\/ or https:\/\//],
    [{ CAIRN_S3_ENDPOINT: 'http://minio:9000/models' }, /CAIRN_S3_ENDPOINT must have no path/],
    [{ CAIRN_S3_ENDPOINT: 'http://a:b@minio' }, /CAIRN_S3_ENDPOINT must have neither credentials nor a query/],
    [{ CAIRN_S3_PUBLIC_ENDPOINT: 'https://s3.example/x' }, /CAIRN_S3_PUBLIC_ENDPOINT must have no path/],
    [{ CAIRN_S3_BUCKET: 'Models' }, /CAIRN_S3_BUCKET must be 3 to 63/],
    [{ CAIRN_S3_BUCKET: 'ab' }, /CAIRN_S3_BUCKET/],
    [{ CAIRN_S3_REGION: 'eu central' }, /CAIRN_S3_REGION must be/],
    [{ CAIRN_S3_ACCESS_KEY: 'a b' }, /CAIRN_S3_ACCESS_KEY must be/],
    [{ CAIRN_S3_SECRET_KEY: 'open sesame' }, /CAIRN_S3_SECRET_KEY must be/],
    [{ CAIRN_S3_ADDRESSING: 'virtual' }, /CAIRN_S3_ADDRESSING must be 'path' or 'host'/],
    [{ CAIRN_S3_ADDRESSING: 'host', CAIRN_S3_ENDPOINT: 'http://10.0.0.1:9000' }, /CAIRN_S3_ADDRESSING 'host' puts the bucket before a name/],
    [{ CAIRN_S3_ADDRESSING: 'host', CAIRN_S3_ENDPOINT: 'http://[::1]:9000' }, /CAIRN_S3_ADDRESSING/],
    [
      { CAIRN_S3_ADDRESSING: 'host', CAIRN_S3_ENDPOINT: 'https://s3.example', CAIRN_S3_BUCKET: 'my.models' },
      /CAIRN_S3_ADDRESSING 'host' cannot be used over TLS/,
    ],
    [{ CAIRN_S3_CA_FILE: join(broken, '..', 'absent.pem') }, /CAIRN_S3_CA_FILE cannot be read: ENOENT/],
    [{ CAIRN_S3_CA_FILE: broken }, /CAIRN_S3_CA_FILE holds no certificate in PEM/],
  ]
  for (const [env, complaint] of cases) {
    const text = complaintOf({ ...needed, ...env })
    t.match(text, complaint)
    t.equal(text.split('\n').length, 1, text)
    t.notMatch(text, /sesame/)
  }
})
