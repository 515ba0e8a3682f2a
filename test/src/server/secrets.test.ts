import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ensureSecrets } from '../../../src/server/secrets.js'

t.test('the first start makes secrets that only their owner reads; later ones keep them', async (t) => {
  const dataDirectory = join(t.testdir(), 'deep', 'data')
  const options = { dataDirectory, embedded: true, adminToken: undefined, secretKey: undefined }
  const first = await ensureSecrets(options)
  t.match(first, {
    adminToken: /^hf_[A-Za-z0-9]{37}$/,
    secretKey: /^[A-Za-z0-9_-]{43}$/,
    hubId: /^[0-9a-f-]{36}$/,
    adminTokenPath: join(dataDirectory, 'admin-token'),
    firstStart: true,
  })
  t.same(readdirSync(dataDirectory).toSorted(), ['admin-token', 'hub-id', 'secret-key'], 'and nothing is left lying about')
  for (const name of ['admin-token', 'secret-key']) t.equal(statSync(join(dataDirectory, name)).mode & 0o777, 0o600, name)
  t.equal(readFileSync(join(dataDirectory, 'admin-token'), 'utf8'), `${first.adminToken}\n`)
  t.same(await ensureSecrets(options), { ...first, firstStart: false })

  const given = await ensureSecrets({ ...options, adminToken: 'hf_given', secretKey: 'given' })
  t.same(given, { ...first, adminToken: 'hf_given', secretKey: 'given', firstStart: false })
  t.equal(readFileSync(join(dataDirectory, 'admin-token'), 'utf8'), 'hf_given\n', 'client commands find what holds')
  t.equal((await ensureSecrets(options)).adminToken, 'hf_given')
})

t.test('beside a database of its own secrets must be given, and are written nowhere', async (t) => {
  const dataDirectory = t.testdir()
  const options = { dataDirectory, embedded: false, adminToken: 'hf_x', secretKey: 'key' }
  t.match(await ensureSecrets(options), { adminToken: 'hf_x', secretKey: 'key', adminTokenPath: undefined })
  t.same(readdirSync(dataDirectory), ['hub-id'])
  await t.rejects(ensureSecrets({ ...options, secretKey: undefined }), { code: 'config', message: /CAIRN_SECRET_KEY/ })
})
