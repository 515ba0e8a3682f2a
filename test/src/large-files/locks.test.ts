import { randomUUID } from 'node:crypto'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { createLocks } from '../../../src/large-files/locks.js'
import { insertOwner, insertRepo } from '../../support/large-objects.js'
import { testDatabase } from '../../support/postgres.js'

const db = await testDatabase(t)
const locks = createLocks(db)
const [ann, bob] = [await insertOwner(db, 'ann'), await insertOwner(db, 'bob')]
const newRepo = () => insertRepo(db, ann)

t.test('a path is locked once, by whoever comes first, and each repository has its own', async (t) => {
  const [repoId, other] = [await newRepo(), await newRepo()]
  const first = await locks.create(repoId, 'weights/a.bin', ann)
  t.match(first, { created: true, lock: { path: 'weights/a.bin', owner: { id: ann, name: 'ann' } } })
  t.match(first.lock.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.same(await locks.create(repoId, 'weights/a.bin', bob), { created: false, lock: first.lock })
  t.same(await locks.create(repoId, 'weights/a.bin', ann), { created: false, lock: first.lock }, 'also for its owner')
  t.equal((await locks.create(other, 'weights/a.bin', bob)).created, true)
  t.equal((await locks.create(repoId, 'weights/A.bin', bob)).created, true, 'paths are told apart by their bytes')
})

t.test('of many who lock a path at once one has it', async (t) => {
  const repoId = await newRepo()
  const results = await Promise.all(Array.from({ length: 10 }, (_, i) => locks.create(repoId, 'a', i % 2 === 0 ? ann : bob)))
  t.equal(results.filter(({ created }) => created).length, 1)
  t.equal(new Set(results.map(({ lock }) => lock.id)).size, 1)
})

t.test('locks that are made and removed by many at once come to no error', async (t) => {
  const repoId = await newRepo()
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 10; i++) await locks.remove(repoId, (await locks.create(repoId, 'a', ann)).lock.id)
    }),
  )
  t.same((await locks.list(repoId)).locks, [])
})

t.test('a lock is found and removed by repository and id, and by no other repository', async (t) => {
  const [repoId, other] = [await newRepo(), await newRepo()]
  const { lock } = await locks.create(repoId, 'a', ann)
  t.same(await locks.find(repoId, lock.id), lock)
  t.equal(await locks.find(other, lock.id), undefined)
  t.equal(await locks.remove(other, lock.id), undefined)
  t.same((await locks.list(other, { id: lock.id })).locks, [])
  t.same(await locks.remove(repoId, lock.id), lock)
  t.equal(await locks.remove(repoId, lock.id), undefined)
  t.equal(await locks.find(repoId, lock.id), undefined)
})

t.test('ids that are none find nothing', async (t) => {
  const repoId = await newRepo()
  const { lock } = await locks.create(repoId, 'a', ann)
  for (const id of ['', '1', '*', `${lock.id} `, lock.id.toUpperCase(), `{${lock.id}}`, "' OR true --", '\0', randomUUID()]) {
    t.equal(await locks.find(repoId, id), undefined, JSON.stringify(id))
    t.equal(await locks.remove(repoId, id), undefined)
    t.same((await locks.list(repoId, { id })).locks, [])
  }
})

t.test('locks are listed oldest first, by path, by id, and page by page to the end', async (t) => {
  const repoId = await newRepo()
  const paths = Array.from({ length: 7 }, (_, i) => `folder/${9 - i}`)
  for (const path of paths) await locks.create(repoId, path, ann)
  // Several of the same millisecond.
  await db.execute(sql`UPDATE lfs_locks SET locked_at = '2026-01-01T00:00:00.123Z' WHERE repo_id = ${repoId} AND path >= 'folder/5'`)
  const all = (await locks.list(repoId)).locks
  t.same(all.map(({ path }) => path).toSorted(), paths.toSorted())
  t.equal((await locks.list(repoId)).nextCursor, undefined)
  for (const limit of [1, 2, 3, 6, 7]) {
    const seen: string[] = []
    let cursor: string | undefined
    let pages = 0
    do {
      const page = await locks.list(repoId, { limit, cursor })
      seen.push(...page.locks.map(({ id }) => id))
      cursor = page.nextCursor
      pages += 1
    } while (cursor !== undefined)
    t.same(
      seen,
      all.map(({ id }) => id),
      `${limit} a page`,
    )
    t.equal(pages, Math.ceil(7 / limit))
  }
  t.same(
    (await locks.list(repoId, { path: 'folder/7' })).locks.map(({ path }) => path),
    ['folder/7'],
  )
  t.same((await locks.list(repoId, { path: 'folder' })).locks, [])
  t.same((await locks.list(repoId, { path: '../x' })).locks, [])
  t.same((await locks.list(repoId, { id: all[3]!.id })).locks, [all[3]])
  t.same((await locks.list(repoId, { id: all[3]!.id, path: 'nothing' })).locks, [])
})

t.test('a page goes on where the last one ended though its last lock was removed', async (t) => {
  const repoId = await newRepo()
  for (const path of ['a', 'b', 'c']) await locks.create(repoId, path, ann)
  const all = (await locks.list(repoId)).locks
  const { nextCursor } = await locks.list(repoId, { limit: 2 })
  await locks.remove(repoId, all[1]!.id)
  t.same((await locks.list(repoId, { cursor: nextCursor })).locks, [all[2]])
})

t.test('a page has a hundred locks at most, and one at least', async (t) => {
  const repoId = await newRepo()
  await db.execute(
    sql`INSERT INTO lfs_locks (repo_id, path, owner_id) SELECT ${repoId}::bigint, convert_to(n::text, 'UTF8'), ${ann}::bigint FROM generate_series(1, 101) n`,
  )
  for (const limit of [undefined, 100, 101, 1e9, Infinity]) {
    const { locks: page, nextCursor } = await locks.list(repoId, { limit })
    t.equal(page.length, 100)
    t.ok(nextCursor)
  }
  for (const limit of [0, -5, 0.5]) t.equal((await locks.list(repoId, { limit })).locks.length, 1)
})

t.test('cursors that are none are refused', async (t) => {
  const repoId = await newRepo()
  const id = randomUUID()
  for (const cursor of ['', 'x', id, `.${id}`, `-1.${id}`, `1e3.${id}`, `1.${id}x`, `9999999999999999.${id}`, `1.${'-'.repeat(36)}`]) {
    await t.rejects(locks.list(repoId, { cursor }), { code: 'invalid' }, cursor)
  }
  t.same((await locks.list(repoId, { cursor: `999999999999999.${id}` })).locks, [])
})

t.test('what is no path of a file is refused', async (t) => {
  const repoId = await newRepo()
  for (const path of [
    '',
    '/',
    '/etc/passwd',
    'a/',
    'a//b',
    '.',
    '..',
    '../a',
    'a/../b',
    'a/./b',
    'a\0b',
    '\ud800',
    'x'.repeat(4097),
    'é'.repeat(2049),
  ]) {
    await t.rejects(locks.create(repoId, path, ann), { code: 'invalid' }, JSON.stringify(path.slice(0, 20)))
  }
  for (const path of ['x'.repeat(4096), 'é'.repeat(2048), 'a b', '..a/...', 'a\\b', '-', '😀/\n', "'; DROP TABLE lfs_locks; --"]) {
    const { lock } = await locks.create(repoId, path, ann)
    t.equal((await locks.find(repoId, lock.id))!.path, path)
    t.same((await locks.list(repoId, { path })).locks, [lock])
  }
})
