import t from 'tap'
import { createTokenFor, createUser, ensureAdmin } from '../../../src/auth/accounts.js'
import { createKeyRing } from '../../../src/auth/keys.js'
import { hashToken } from '../../../src/auth/tokens.js'
import { revokeToken } from '../../../src/db/tokens.js'
import { sql } from '../../../src/db/sql.js'
import { createVersions } from '../../../src/db/versions.js'
import { testDatabase } from '../../support/postgres.js'

const db = await testDatabase(t)
const versions = createVersions(db)
const whose = async (token: string) => (await versions.current({ tokenHash: hashToken(token) })).actor

t.test('the first user is made once, however many hubs start, and keeps only the token that was last given', async (t) => {
  await Promise.all([ensureAdmin(db, 'hf_first'), ensureAdmin(db, 'hf_first'), ensureAdmin(db, 'hf_first')])
  t.match(await whose('hf_first'), { name: 'admin', kind: 'user', isAdmin: true, token: { name: 'admin-token', role: 'write', expiresAt: null } })
  const before = (await whose('hf_first'))!.accessVer
  await ensureAdmin(db, 'hf_first')
  t.equal((await whose('hf_first'))!.accessVer, before, 'nothing changes when all is so already')
  await ensureAdmin(db, 'hf_second')
  t.equal(await whose('hf_first'), undefined)
  t.equal((await whose('hf_second'))!.accessVer, before + 1)
  await t.rejects(ensureAdmin(db, 'hf_first'), { code: 'config' }, 'a revoked token never comes back')
})

t.test('a name is taken in every case of its letters, and stays with who gave it up', async (t) => {
  const alice = await createUser(db, { name: 'Alice', isAdmin: false, actorId: null })
  t.match(alice, { name: 'Alice', kind: 'user', isAdmin: false, state: 'active' })
  await t.rejects(createUser(db, { name: 'aLICE', isAdmin: false, actorId: null }), { code: 'already-exists' })
  await t.rejects(createUser(db, { name: 'API', isAdmin: false, actorId: null }), { code: 'invalid' })
  await db.execute(sql`INSERT INTO namespace_tombstones (name_key, namespace_id) VALUES ('old-name', ${alice.id})`)
  await t.rejects(createUser(db, { name: 'Old-Name', isAdmin: false, actorId: null }), { code: 'already-exists' })
  const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => createUser(db, { name: 'wanted', isAdmin: false, actorId: null })))
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('a token is its owner until it is revoked, expires, or he is disabled; each change raises the access version', async (t) => {
  const user = await createUser(db, { name: 'carol', isAdmin: false, actorId: null })
  const { token, row } = await createTokenFor(db, { userId: user.id, name: 'ci', role: 'read', actorId: user.id })
  t.match(await whose(token), { id: user.id, name: 'carol', isAdmin: false, accessVer: 2, token: { id: row.id, name: 'ci', role: 'read' } })
  t.equal((await db.query(sql`SELECT FROM tokens WHERE position(${Buffer.from(token)}::bytea IN hash) > 0`)).length, 0)
  const { token: expired } = await createTokenFor(db, {
    userId: user.id,
    name: 'old',
    role: 'write',
    actorId: null,
    expiresAt: new Date(Date.now() - 1000),
  })
  t.equal(await whose(expired), undefined)
  await db.execute(sql`UPDATE namespaces SET state = 'disabled' WHERE id = ${user.id}`)
  t.equal(await whose(token), undefined)
  await db.execute(sql`UPDATE namespaces SET state = 'active' WHERE id = ${user.id}`)
  t.ok(await whose(token))
  t.equal(await db.transaction((tx) => revokeToken(tx, row.id)), true)
  t.equal(await db.transaction((tx) => revokeToken(tx, row.id)), false)
  t.equal(await whose(token), undefined)
  const audit = await db.query<{ action: string }>(sql`SELECT action FROM audit WHERE namespace_id = ${user.id} ORDER BY id`)
  t.same(
    audit.map(({ action }) => action),
    ['user.create', 'token.create', 'token.create'],
  )
})

t.test('versions find a repository by any case of its name, and nothing that is hidden', async (t) => {
  const owner = await createUser(db, { name: 'Dora', isAdmin: false, actorId: null })
  const [repo] = await db.query<{ id: number }>(
    sql`INSERT INTO repositories (namespace_id, type, name, visibility) VALUES (${owner.id}, 'dataset', 'Data', 'private') RETURNING id`,
  )
  await db.execute(
    sql`INSERT INTO repositories (namespace_id, type, name, visibility, deleted_at) VALUES (${owner.id}, 'dataset', 'gone', 'public', now())`,
  )
  const path = { type: 'dataset', namespace: 'dORA', name: 'dATA' } as const
  t.match((await versions.current({ repo: path })).repo, {
    id: repo!.id,
    type: 'dataset',
    namespaceId: owner.id,
    namespace: 'Dora',
    name: 'Data',
    visibility: 'private',
    gated: null,
    disabled: false,
    headRef: 'refs/heads/main',
    sdk: null,
    bytes: 0,
    versions: { refsVer: 1, packsVer: 1, gcEpoch: 1, purgeEpoch: 1, accessVer: 1 },
  })
  t.same(await versions.repoById(repo!.id), (await versions.current({ repo: path })).repo)
  t.same(await versions.current({ repo: { ...path, type: 'model' } }), {})
  t.same(await versions.current({ repo: { ...path, name: 'gone' } }), {})
  t.same(await versions.current({}), {})
  const both = await versions.current({ tokenHash: hashToken('hf_second'), repo: path })
  t.equal(both.actor?.name, 'admin')
  t.equal(both.repo?.id, repo!.id)
})

t.test('keys sign for one purpose, survive rotation for a while, and are noise without the secret', async (t) => {
  const here = createKeyRing({ db, secretKey: 'secret' })
  const there = createKeyRing({ db, secretKey: 'secret', refreshMs: 0 })
  const [a, b] = await Promise.all([here.sign('session', 'text'), there.sign('session', 'text')])
  t.equal(a, b, 'two hubs at once make one key')
  t.equal(await there.verify('session', 'text', a), true)
  t.equal(await there.verify('session', 'Text', a), false)
  t.equal(await there.verify('lfs-link', 'text', a), false)
  for (const wrong of ['', '.', 'x.y', `${a}.`, a.slice(0, -3)]) t.equal(await there.verify('session', 'text', wrong), false, wrong)
  const kid = await here.rotate('session', 60)
  const rotated = await there.sign('session', 'text')
  t.equal(rotated.split('.')[0], kid)
  t.equal(await there.verify('session', 'text', a), true, 'what was signed before is still good')
  await here.rotate('session', -1)
  t.equal(await there.verify('session', 'text', rotated), false, 'and not for ever')
  await t.rejects(createKeyRing({ db, secretKey: 'another' }).sign('session', 'text'), { code: 'corrupt', message: /CAIRN_SECRET_KEY/ })
})
