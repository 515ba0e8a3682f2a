import t from 'tap'
import { lfsKey, packKey, parseBlobKey, sidecarKey, stagingKey } from '../../../src/storage/keys.js'

const hex = '0fab00000000000000000000000000000000000000000000000000000000c0de'
const sha256 = Buffer.from(hex, 'hex')

t.test('every kind of blob has its layout', async (t) => {
  t.equal(packKey(sha256), `packs/0f/${hex}.pack`)
  for (const kind of ['idx', 'rev', 'tbl', 'midx', 'bitmap', 'graph'] as const) t.equal(sidecarKey(sha256, kind), `side/0f/${hex}.${kind}`)
  t.equal(lfsKey(sha256), `lfs/0f/ab/${hex}`)
  t.equal(stagingKey('0190b3a0-1111-7222-8333-944444444444'), 'staging/0190b3a0-1111-7222-8333-944444444444')
  t.equal(packKey(new Uint8Array(sha256)), `packs/0f/${hex}.pack`)
  t.equal(packKey(Buffer.concat([Buffer.alloc(3), sha256]).subarray(3)), `packs/0f/${hex}.pack`, 'a view into a larger buffer')
})

t.test('a hash of another length is no name', async (t) => {
  for (const length of [0, 20, 31, 33, 64]) {
    t.throws(() => packKey(new Uint8Array(length)), { name: 'HubError', code: 'invalid' })
    t.throws(() => sidecarKey(new Uint8Array(length), 'idx'), { code: 'invalid' })
    t.throws(() => lfsKey(new Uint8Array(length)), { code: 'invalid' })
  }
})

t.test('an id that could be a path is no name', async (t) => {
  for (const id of ['', '.', '..', '../x', 'a/b', 'A', 'ü', 'a b', '-a', 'a.b', 'a\0', 'a\n', 'x'.repeat(65)]) {
    t.throws(() => stagingKey(id), { name: 'HubError', code: 'invalid' }, JSON.stringify(id))
  }
})

t.test('parses what it makes', async (t) => {
  for (const key of [packKey(sha256), sidecarKey(sha256, 'graph'), lfsKey(sha256), stagingKey('x'.repeat(64))]) t.equal(parseBlobKey(key), key)
})

t.test('refuses everything of another layout', async (t) => {
  const refused = [
    '',
    '/',
    '.',
    '..',
    'packs',
    'packs/',
    'health/none',
    `packs/0f/${hex}`,
    `packs/0f/${hex}.idx`,
    `packs/0f/${hex}.pack `,
    `packs/0f/${hex}.pack\n`,
    ` packs/0f/${hex}.pack`,
    `/packs/0f/${hex}.pack`,
    `./packs/0f/${hex}.pack`,
    `../packs/0f/${hex}.pack`,
    `packs/../packs/0f/${hex}.pack`,
    `packs//0f/${hex}.pack`,
    `packs/0e/${hex}.pack`,
    `packs/0f/${hex.toUpperCase()}.pack`,
    `packs/0f/${hex.slice(1)}.pack`,
    `packs/0f/${hex}0.pack`,
    `packs\\0f\\${hex}.pack`,
    `side/0f/${hex}.pack`,
    `side/0f/${hex}.toString`,
    `side/0f/${hex}.`,
    `lfs/0f/${hex}`,
    `lfs/0f/ac/${hex}`,
    `lfs/0e/ab/${hex}`,
    `lfs/0f/ab/${hex}.pack`,
    'staging/',
    'staging/..',
    'staging/a/b',
    'tmp/0190b3a0-1111-7222-8333-944444444444',
    'multipart/x/1',
  ]
  for (const text of refused) t.throws(() => parseBlobKey(text), { name: 'HubError', code: 'invalid' }, JSON.stringify(text))
})
