import t from 'tap'
import { createTokenFor, createUser } from '../../../src/auth/accounts.js'
import { hashToken } from '../../../src/auth/tokens.js'
import { perTick } from '../../../src/db/per-tick.js'
import type { Database, Queryable } from '../../../src/db/pool.js'
import { insertHiddenRepository } from '../../../src/db/repositories.js'
import { sql } from '../../../src/db/sql.js'
import { createVersions } from '../../../src/db/versions.js'
import { testDatabase } from '../../support/postgres.js'

/** Notes the names of statements on their way to a real database; each is told once. */
function counting(db: Database): { readonly db: Queryable; readonly statements: () => readonly (string | undefined)[] } {
  const statements: (string | undefined)[] = []
  const counted: Queryable = {
    query: (statement) => {
      statements.push(statement.name)
      return db.query(statement)
    },
    execute: (statement) => db.execute(statement),
  }
  return { db: counted, statements: () => statements.splice(0) }
}

t.test('all who ask in one tick share one statement, and each gets his own answer', async (t) => {
  const db = await testDatabase(t)
  const users = await Promise.all(['alice', 'bob'].map((name) => createUser(db, { name, isAdmin: false, actorId: null })))
  const tokens = await Promise.all(
    users.map(async ({ id }) => (await createTokenFor(db, { userId: id, name: 'x', role: 'read', actorId: null })).token),
  )
  for (const [i, name] of ['one', 'Two'].entries()) {
    const id = await insertHiddenRepository(db, { namespaceId: users[i]!.id, type: 'model', name, visibility: 'private' })
    await db.execute(sql`UPDATE repositories SET deleted_at = NULL WHERE id = ${id}`)
  }
  const { db: counted, statements } = counting(db)
  const versions = createVersions(counted)
  const repo = (namespace: string, name: string) => ({ type: 'model', namespace, name }) as const
  const asked = [
    { tokenHash: hashToken(tokens[0]!), repo: repo('bob', 'two') },
    { repo: repo('ALICE', 'one') },
    { tokenHash: hashToken(tokens[1]!) },
    { tokenHash: hashToken('hf_unknown'), repo: repo('alice', 'unknown') },
    {},
  ]
  const answers = await Promise.all(asked.map((query) => versions.current(query)))
  t.same(
    answers.map(({ actor, repo }) => [actor?.name ?? null, repo ? `${repo.namespace}/${repo.name}` : null]),
    [
      ['alice', 'bob/Two'],
      [null, 'alice/one'],
      ['bob', null],
      [null, null],
      [null, null],
    ],
  )
  t.same(statements(), ['versions-current'])
  const many = await Promise.all(
    Array.from({ length: 2_500 }, (_, i) => versions.current({ repo: i % 2 ? repo('alice', 'one') : repo('bob', 'two') })),
  )
  t.same([...new Set(many.map(({ repo }, i) => `${i % 2} ${repo?.name}`))].toSorted(), ['0 Two', '1 one'])
  t.same(statements(), ['versions-current', 'versions-current', 'versions-current'], '1,000 at a time')
})

t.test('when the statement fails everybody who asked along hears of it, and the next is asked anew', async (t) => {
  let broken = true
  const ask = perTick(async (questions: readonly number[]) => {
    if (broken) throw new Error('no database')
    return questions.map((one) => one * 2)
  }, 10)
  const failed = await Promise.allSettled([ask(1), ask(2)])
  t.same(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  broken = false
  t.same(await Promise.all([ask(3), ask(4)]), [6, 8])
})
