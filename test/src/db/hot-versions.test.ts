import t from 'tap'
import { hashToken } from '../../../src/auth/tokens.js'
import { createTokenFor, createUser } from '../../../src/auth/accounts.js'
import { createHotVersions } from '../../../src/db/hot-versions.js'
import { sql } from '../../../src/db/sql.js'
import { createVersions, type Current, type Versions } from '../../../src/db/versions.js'
import { CommitOutcomeUnknown } from '../../../src/db/database-errors.js'
import { HubError } from '../../../src/errors.js'
import { create, openDomain, workTree } from '../../support/domain.js'

const domain = await openDomain(t)
const { db } = domain
const inner = createVersions(db)
const path = { type: 'model', namespace: 'admin', name: 'hot' } as const
const repo = await domain.makeRepo('hot')
const user = await createUser(db, { name: 'reader', isAdmin: false, actorId: null })
const { token, row } = await createTokenFor(db, { userId: user.id, name: 'one', role: 'read', actorId: null })
const tokenHash = hashToken(token)

/** The same, counting what goes to the database, and held up where a test says. */
function counted(): { versions: Versions; asked: () => number; hold: () => () => void } {
  let asked = 0
  let gate = Promise.resolve()
  const watched: Versions = {
    ...inner,
    async current(query): Promise<Current> {
      asked++
      const current = await inner.current(query)
      await gate
      return current
    },
  }
  return {
    versions: createHotVersions(watched),
    asked: () => asked,
    hold() {
      let release = (): void => {}
      gate = new Promise((resolve) => {
        release = resolve
      })
      return release
    },
  }
}

t.test('a hot request asks the database nothing; a name is the same in any case', async (t) => {
  const { versions, asked } = counted()
  const first = await versions.current({ tokenHash, repo: path })
  t.match(first, { actor: { name: 'reader' }, repo: { id: repo.id } })
  t.same(await versions.current({ tokenHash, repo: { ...path, name: 'HOT', namespace: 'Admin' } }), first)
  t.same(await versions.current({ repo: path }), { repo: first.repo })
  t.same(await versions.current({ tokenHash }), { actor: first.actor })
  t.same(await versions.current({}), {})
  t.equal(asked(), 1)
})

t.test('who is not found is looked for again', async (t) => {
  const { versions, asked } = counted()
  t.same(await versions.current({ tokenHash: Buffer.alloc(32), repo: { ...path, name: 'none' } }), {})
  t.same(await versions.current({ tokenHash: Buffer.alloc(32), repo: { ...path, name: 'none' } }), {})
  t.equal(asked(), 2)
})

t.test('a change is seen by the next request, and what was read before or during it is not kept', async (t) => {
  const { versions, asked, hold } = counted()
  const rise = () => db.execute(sql`UPDATE repositories SET access_ver = access_ver + 1 WHERE id = ${repo.id}`)
  const before = (await versions.current({ repo: path })).repo!.versions.accessVer
  await versions.changing({ repoId: repo.id }, async () => {
    await rise()
    t.equal((await versions.current({ repo: path })).repo!.versions.accessVer, before + 1, 'during it the database is asked')
    t.equal(asked(), 2)
  })
  t.equal((await versions.current({ repo: path })).repo!.versions.accessVer, before + 1)
  t.equal(asked(), 3, 'what was read during it was not kept')
  await versions.current({ repo: path })
  t.equal(asked(), 3)

  await versions.changing({ repoId: repo.id }, async () => undefined)
  const release = hold()
  const slow = versions.current({ repo: path }) // reads the old state, and is slow to come back with it
  await new Promise((resolve) => setTimeout(resolve, 50))
  await versions.changing({ repoId: repo.id }, rise)
  release()
  t.equal((await slow).repo!.versions.accessVer, before + 1, 'it answers with what it saw')
  t.equal((await versions.current({ repo: path })).repo!.versions.accessVer, before + 2, 'and nobody after it does')
})

t.test('a change that fails is a change; one whose end nobody knows is never answered from memory again', async (t) => {
  const { versions, asked } = counted()
  await versions.current({ repo: path })
  await t.rejects(
    versions.changing({ repoId: repo.id }, () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  await versions.current({ repo: path })
  await versions.current({ repo: path })
  t.equal(asked(), 2)
  for (const unknown of [new HubError('unavailable', 'lost'), new CommitOutcomeUnknown(new Error('lost'))]) {
    const { versions: others, asked: othersAsked } = counted()
    await t.rejects(
      others.changing({ repoId: repo.id }, () => Promise.reject(unknown)),
      { message: unknown.message },
    )
    await others.current({ repo: path })
    await others.current({ repo: path })
    t.equal(othersAsked(), 2, unknown.name)
  }
})

t.test('a revoked token ends with its change, an expired one by itself', async (t) => {
  const { versions } = counted()
  t.ok((await versions.current({ tokenHash })).actor)
  await versions.changing({ actorId: user.id }, () => db.execute(sql`UPDATE tokens SET revoked_at = now() WHERE id = ${row.id}`))
  t.equal((await versions.current({ tokenHash })).actor, undefined)
  const soon = await createTokenFor(db, { userId: user.id, name: 'soon', role: 'read', actorId: null, expiresAt: new Date(Date.now() + 300) })
  const hash = hashToken(soon.token)
  t.ok((await versions.current({ tokenHash: hash })).actor)
  await new Promise((resolve) => setTimeout(resolve, 400))
  t.equal((await versions.current({ tokenHash: hash })).actor, undefined)
})

t.test('pushes, deletes and new tokens go through it: nothing old is ever answered', async (t) => {
  const made = await domain.makeRepo('story')
  const work = await workTree(t.testdir())
  const oid = await work.commit({ a: 'a' })
  t.equal((await domain.current('story')).versions.refsVer, made.versions.refsVer)
  await domain.push(made, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  t.equal((await domain.current('story')).versions.refsVer, made.versions.refsVer + 1)
  await domain.repos.deleteRepo(await domain.current('story'), { id: domain.adminId, name: 'admin', accessVer: 1 })
  t.equal(await domain.current('story'), undefined)
})
