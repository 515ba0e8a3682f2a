import { createHash } from 'node:crypto'
import t from 'tap'
import { createTokenFor, createUser } from '../../../src/auth/accounts.js'
import { createFormTokens } from '../../../src/auth/csrf.js'
import { createKeyRing } from '../../../src/auth/keys.js'
import { createSessions } from '../../../src/auth/sessions.js'
import { hashToken } from '../../../src/auth/tokens.js'
import { sql } from '../../../src/db/sql.js'
import { revokeToken } from '../../../src/db/tokens.js'
import { createVersions } from '../../../src/db/versions.js'
import { testDatabase } from '../../support/postgres.js'

const db = await testDatabase(t)
const versions = createVersions(db)
const sessions = createSessions({ db, versions })
const user = await createUser(db, { name: 'carol', isAdmin: false, actorId: null })
const makeToken = (role: 'read' | 'write' = 'write') => createTokenFor(db, { userId: user.id, name: 'laptop', role, actorId: user.id })
const idHash = (id: string) => createHash('sha256').update(id).digest()

t.test('a live token opens a session, which stands for it; the id is kept as its hash alone', async (t) => {
  const { token, row } = await makeToken()
  const opened = (await sessions.open(` ${token}\r\n`))!
  t.match(opened.id, /^[A-Za-z0-9_-]{43}$/)
  t.match(opened.actor, { name: 'carol', id: user.id })
  const found = (await sessions.find(opened.id))!
  t.same(found, { name: idHash(opened.id).toString('hex'), tokenHash: hashToken(token) })
  const [stored] = await db.query(
    sql`SELECT hash, token_id, round(extract(epoch FROM expires_at - created_at)) AS seconds FROM sessions WHERE hash = ${idHash(opened.id)}`,
  )
  t.match(stored, { token_id: row.id, seconds: '43200' })
  const again = (await sessions.open(token))!
  t.not(again.id, opened.id)
  const audit = await db.query(sql`SELECT action, actor_id, details FROM audit WHERE action LIKE 'session.%'`)
  t.match(audit, [
    { action: 'session.open', actor_id: user.id, details: { tokenId: row.id } },
    { action: 'session.open', actor_id: user.id, details: { tokenId: row.id } },
  ])
  t.notOk(JSON.stringify(audit).includes(opened.id))
})

t.test('what is no live token opens nothing', async (t) => {
  const { token, row } = await makeToken()
  await db.transaction((tx) => revokeToken(tx, row.id))
  const late = await createTokenFor(db, { userId: user.id, name: 'late', role: 'read', actorId: user.id, expiresAt: new Date(Date.now() - 1000) })
  for (const text of ['', ' ', 'hf_nobody', 'a b', token, late.token, `hf_${'x'.repeat(600)}`, '\0', `${token}\nx`])
    t.equal(await sessions.open(text), undefined, text)
})

t.test('what is no session is not found, and the database is not asked about what cannot be one', async (t) => {
  for (const id of ['', 'x', 'A'.repeat(43), 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}'`, `${'A'.repeat(42)}=`])
    t.equal(await sessions.find(id), undefined)
})

t.test('a session ends when it is ended or its time is over; the next one who signs in sweeps up', async (t) => {
  const { token } = await makeToken()
  const one = (await sessions.open(token))!
  const two = (await sessions.open(token))!
  await sessions.end(one.id, user.id)
  t.equal(await sessions.find(one.id), undefined)
  t.ok(await sessions.find(two.id))
  await sessions.end(one.id, user.id)
  await sessions.end('nonsense', null)
  await db.execute(sql`UPDATE sessions SET expires_at = now() - interval '1 second' WHERE hash = ${idHash(two.id)}`)
  t.equal(await sessions.find(two.id), undefined)
  t.equal((await db.query(sql`SELECT FROM sessions WHERE hash = ${idHash(two.id)}`)).length, 1)
  await sessions.open(token)
  t.equal((await db.query(sql`SELECT FROM sessions WHERE hash = ${idHash(two.id)}`)).length, 0)
  t.equal((await db.query(sql`SELECT FROM audit WHERE action = 'session.end'`)).length, 1)
})

t.test('a revoked token opens nothing any more, through its sessions either', async (t) => {
  const { token, row } = await makeToken()
  const { id } = (await sessions.open(token))!
  const whose = async () => {
    const session = await sessions.find(id)
    return session && (await versions.current({ tokenHash: session.tokenHash })).actor?.name
  }
  t.equal(await whose(), 'carol')
  await db.transaction((tx) => revokeToken(tx, row.id))
  t.equal(await whose(), undefined)
})

t.test('a form’s token is good for what it was made for', async (t) => {
  const keys = createKeyRing({ db, secretKey: 'k'.repeat(32) })
  const tokens = createFormTokens(keys)
  const token = await tokens.create('session a')
  t.equal(await tokens.verify('session a', token), true)
  t.equal(await tokens.verify('session b', token), false, 'another session')
  t.equal(await tokens.verify('browser a', token), false, 'another kind of cookie')
  t.equal(await tokens.verify('session a', await keys.sign('session', 'session a')), false, 'another purpose')
  for (const wrong of ['', '.', token.slice(0, -1), `${token}x`, token.replace('.', '..'), 'x'.repeat(10_000)])
    t.equal(await tokens.verify('session a', wrong), false)
  await keys.rotate('csrf', 3600)
  t.equal(await tokens.verify('session a', token), true, 'forms that are open stay good when the key changes')
})
