import t from 'tap'
import { createKeyRing } from '../../../src/auth/keys.js'
import { createSignedLinks } from '../../../src/auth/signed-links.js'
import { testDatabase } from '../../support/postgres.js'

const keys = createKeyRing({ db: await testDatabase(t), secretKey: 's'.repeat(32) })
let now = 1_000_000
const links = createSignedLinks<{ readonly use: string }>(keys, 'lfs-link', () => now)

t.test('claims come back until their time is over', async (t) => {
  const token = await links.sign({ use: 'download' }, 5_000)
  t.same(await links.read(token), { use: 'download' })
  now += 4_999
  t.same(await links.read(token), { use: 'download' })
  now += 1
  t.equal(await links.read(token), undefined)
})

t.test('nothing else is taken for one: another purpose, another text, another length', async (t) => {
  const token = await links.sign({ use: 'download' }, 5_000)
  const other = createSignedLinks<{ readonly use: string }>(keys, 'xet-link', () => now)
  t.equal(await links.read(await other.sign({ use: 'download' }, 5_000)), undefined)
  for (let i = 0; i < token.length; i++) {
    const changed = `${token.slice(0, i)}${token[i] === 'A' ? 'B' : 'A'}${token.slice(i + 1)}`
    // The last digits of base64 have bits to spare.
    if (i !== token.length - 1 && (await links.read(changed)) !== undefined) t.fail(`changed at ${i}`)
    if ((await links.read(token.slice(0, i))) !== undefined) t.fail(`cut at ${i}`)
  }
  for (const text of ['', '.', '..', 'a.b.c', `${token}.x`, token.repeat(100)]) t.equal(await links.read(text), undefined)
  t.same(await links.read(token), { use: 'download' })
})
