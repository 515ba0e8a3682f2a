import t, { type Test } from 'tap'
import type { LfsOid } from '../../../lfs/types.js'
import { linkFromRepositories, renewLinks } from '../../../src/db/large-objects.js'
import type { Database } from '../../../src/db/pool.js'
import { sql } from '../../../src/db/sql.js'
import { createCollector } from '../../../src/kept/collect.js'
import { createLargeFilesCollector, type LargeFilesCollectorOptions } from '../../../src/large-files/collect-large-files.js'
import { lfsKey } from '../../../src/storage/keys.js'
import {
  ageLink,
  ageObject,
  insertOwner,
  insertRepo,
  linkOf,
  newContent,
  oidOf,
  openLargeFiles,
  pieces,
  readAll,
  tracesOf,
  uploadOf,
} from '../../support/large-objects.js'
import { age, holdTransaction, stateOf, steppingDatabase, untilWaiting } from '../../support/stored-blobs.js'

/*
 * Every order in which a link or an object can go and come again, one step at a time. Rows are made older; nothing waits for a clock.
 * One hour is each grace.
 */

const { db, store, largeFiles, withOptions } = await openLargeFiles(t)
const actorId = await insertOwner(db)
const hour = 3_600_000

/** What the repositories point to. Those that are not named point to nothing. */
const live = new Map<number, Set<LfsOid>>()
const collectorOf = (options: Partial<LargeFilesCollectorOptions> = {}) =>
  createLargeFilesCollector({
    db,
    livePointers: async (repoId) => new Set(live.get(repoId)),
    unseenGraceMs: hour,
    markedGraceMs: hour,
    objectGraceMs: hour,
    lockWaitMs: 20_000,
    ...options,
  })
const blobs = createCollector({ db, store, unusedGraceMs: hour, doomedGraceMs: hour, storeTimeoutMs: 1000 })

/** A repository that links objects, of which it points to the first few. Others are forgotten first, so that figures are its own. */
async function repoWith(t: Test, objects: number, pointed: number) {
  await forgetAll()
  const repoId = await insertRepo(db, actorId)
  const contents = Array.from({ length: objects }, newContent)
  for (const content of contents) await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  const oids = contents.map(oidOf)
  live.set(repoId, new Set(oids.slice(0, pointed)))
  t.teardown(forgetAll)
  return {
    repoId,
    contents,
    oids,
    points: (...at: number[]) => live.set(repoId, new Set(at.map((i) => oids[i]!))),
    states: () => Promise.all(oids.map((oid) => linkOf(db, repoId, oid))),
    age: async (minutes: number) => {
      for (const oid of oids) await ageLink(db, repoId, oid, minutes)
    },
  }
}

async function forgetAll(): Promise<void> {
  live.clear()
  for (const table of ['repo_large_object', 'representation', 'large_object']) await db.execute({ text: `DELETE FROM ${table}`, values: [] })
}

const figures = ({ links, objects }: { links: object; objects: object }) => ({ ...links, objects })
const untouched = { marked: 0, removed: 0, removedBytes: 0 }
const linkRows = () => db.query(sql`SELECT * FROM repo_large_object ORDER BY repo_id, sha256`)
const objectRows = () => db.query(sql`SELECT * FROM large_object ORDER BY sha256`)

t.test('a link that nothing points to is marked after the grace, and removed after another', async (t) => {
  const repo = await repoWith(t, 3, 2)
  const collector = collectorOf()
  t.same(await collector.collect(), {
    repositories: 1,
    links: { renewed: 0, marked: 0, removed: 0 },
    objects: untouched,
    failed: [],
  })
  t.same(await repo.states(), ['linked', 'linked', 'linked'], 'it is young')
  await repo.age(59)
  t.same(figures(await collector.collect()), { renewed: 2, marked: 0, removed: 0, objects: untouched }, 'what is in use is seen')
  await repo.age(2)
  t.same(figures(await collector.collect()), { renewed: 0, marked: 1, removed: 0, objects: untouched })
  t.same(await repo.states(), ['linked', 'linked', 'marked'])
  t.equal((await largeFiles.find(repo.repoId, [repo.oids[2]!])).size, 1, 'marked, it still counts')
  t.equal(await readAll(await largeFiles.open(repo.oids[2]!)), repo.contents[2])
  t.same(figures(await collector.collect()), { renewed: 0, marked: 0, removed: 0, objects: untouched })
  await repo.age(59)
  t.match((await collector.collect()).links, { marked: 0, removed: 0 })
  await repo.age(2)
  t.match((await collector.collect()).links, { marked: 0, removed: 1 })
  t.same(await repo.states(), ['linked', 'linked', undefined])
  t.equal((await largeFiles.find(repo.repoId, [repo.oids[2]!])).size, 0)
})

t.test('a link that is pointed to again loses its mark, and its grace begins anew', async (t) => {
  const repo = await repoWith(t, 2, 1)
  const collector = collectorOf()
  await repo.age(61)
  t.match((await collector.collect()).links, { marked: 1 })
  await repo.age(61)
  repo.points(0, 1)
  t.match((await collector.collect()).links, { renewed: 2, marked: 0, removed: 0 })
  t.same(await repo.states(), ['linked', 'linked'])
  repo.points(0)
  t.match((await collector.collect()).links, { marked: 0, removed: 0 })
})

t.test('what was used for years has its whole grace from the run that saw it last', async (t) => {
  const repo = await repoWith(t, 2, 2)
  const collector = collectorOf()
  await repo.age(60 * 24 * 365)
  await collector.collect()
  repo.points(0)
  t.match((await collector.collect()).links, { marked: 0 })
  await repo.age(59)
  t.match((await collector.collect()).links, { marked: 0 })
  await repo.age(2)
  t.match((await collector.collect()).links, { marked: 1 })
})

t.test('an object that no repository links goes after its own grace, and its blob after that', async (t) => {
  const repo = await repoWith(t, 2, 1)
  const collector = collectorOf()
  const [, oid] = repo.oids as [LfsOid, LfsOid]
  const key = lfsKey(Buffer.from(oid, 'hex'))
  await repo.age(61)
  await collector.collect()
  await repo.age(61)
  t.match((await collector.collect()).links, { removed: 1 })
  t.match(await tracesOf(db, store, oid), { objects: 1, representations: 1, links: 0, stored: 1 })
  await age(db, key)
  t.equal(await blobs.doom(key), false, 'the object needs it')
  t.same((await collector.collect()).objects, { marked: 1, removed: 0, removedBytes: 0 })
  await ageObject(db, oid, 59)
  t.same((await collector.collect()).objects, untouched)
  t.equal(await collector.removeObject(oid), false)
  await ageObject(db, oid, 2)
  t.same((await collector.collect()).objects, { marked: 0, removed: 1, removedBytes: 50 })
  t.match(await tracesOf(db, store, oid), { objects: 0, representations: 0, blobs: 1, stored: 1 })
  t.equal(await blobs.doom(key), true)
  await age(db, key)
  t.equal(await blobs.finish(key), true)
  t.match(await tracesOf(db, store, oid), { blobs: 0, stored: 0 })
  t.match(await tracesOf(db, store, repo.oids[0]!), { objects: 1, representations: 1, links: 1, blobs: 1, stored: 1 })
})

t.test('an object that another repository links stays', async (t) => {
  const repo = await repoWith(t, 2, 1)
  const other = await insertRepo(db, actorId)
  const [, oid] = repo.oids as [LfsOid, LfsOid]
  await largeFiles.claim({ repoId: other, objects: [{ oid, size: 50 }], mayRead: () => true })
  live.set(other, new Set([oid]))
  await db.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${repo.repoId} AND sha256 = decode(${oid}, 'hex')`)
  await db.execute(sql`UPDATE large_object SET unlinked_at = now() - interval '1 year'`)
  t.same((await collectorOf().collect()).objects, untouched)
  t.match(await tracesOf(db, store, oid), { objects: 1, links: 1 })
  const [row] = await db.query<{ n: number }>(sql`SELECT count(*) AS n FROM large_object WHERE unlinked_at IS NOT NULL`)
  t.equal(row!.n, 0, 'and is not marked any more')
})

t.test('links of a deleted repository age out, from the hour of its deletion on; nobody asks what it points to', async (t) => {
  const repo = await repoWith(t, 3, 3)
  const collector = collectorOf({ livePointers: () => Promise.reject(new Error('asked')) })
  await repo.age(1000)
  await db.execute(sql`UPDATE repositories SET deleted_at = now() - interval '59 minutes' WHERE id = ${repo.repoId}`)
  t.match(await collector.collect(), { links: { marked: 0 }, failed: [] })
  await db.execute(sql`UPDATE repositories SET deleted_at = now() - interval '61 minutes' WHERE id = ${repo.repoId}`)
  t.match(await collector.collect(), { links: { marked: 3 }, failed: [] })
  await repo.age(61)
  t.match(await collector.collect(), { links: { removed: 3 }, failed: [] })
  t.match((await collector.collect()).objects, { marked: 3 })
})

t.test('a dry run says what a run would do, and does nothing', async (t) => {
  const repo = await repoWith(t, 6, 5)
  const collector = collectorOf()
  await repo.age(61)
  await collector.collect()
  await repo.age(61)
  repo.points(0, 1, 2, 3)
  const [gone, lone] = [newContent(), newContent()]
  for (const content of [gone, lone]) {
    await largeFiles.receive(uploadOf(content, { repoId: repo.repoId, actorId }), pieces(content))
    await db.execute(sql`DELETE FROM repo_large_object WHERE sha256 = decode(${oidOf(content)}, 'hex')`)
  }
  await db.execute(sql`UPDATE large_object SET unlinked_at = now() - interval '61 minutes' WHERE sha256 = decode(${oidOf(gone)}, 'hex')`)
  const before = [await linkRows(), await objectRows()]
  const expected = { renewed: 4, marked: 1, removed: 1, objects: { marked: 1, removed: 1, removedBytes: 50 } }
  t.same(figures(await collector.collect({ dryRun: true })), expected)
  t.same([await linkRows(), await objectRows()], before)
  t.same(figures(await collector.collect()), expected)
  t.notSame([await linkRows(), await objectRows()], before)
})

t.test('a live set that is empty is taken for a mistake, unless one insists; other repositories go on', async (t) => {
  const repo = await repoWith(t, 3, 0)
  const other = await insertRepo(db, actorId)
  const content = newContent()
  for (const it of [content, newContent()]) await largeFiles.receive(uploadOf(it, { repoId: other, actorId }), pieces(it))
  live.set(other, new Set([oidOf(content)]))
  const collector = collectorOf()
  t.match(await collector.collect(), { failed: [] }, 'what was uploaded and is not pushed yet is no mistake')
  await db.execute(sql`UPDATE repo_large_object SET last_seen = now() - interval '61 minutes'`)
  const message = `repository ${repo.repoId} has 3 links to large objects and nothing in it that points to one`
  for (const dryRun of [true, false]) {
    const { failed, links } = await collector.collect({ dryRun })
    t.match(failed, [{ repoId: repo.repoId, error: { code: 'conflict', message } }])
    t.equal(failed.length, 1)
    t.equal(links.marked, 1)
  }
  t.same(await repo.states(), ['linked', 'linked', 'linked'])
  t.match(await collector.collect({ force: true }), { links: { marked: 3 }, failed: [] })
  await repo.age(61)
  t.match(await collector.collect(), { links: { removed: 3 + 0 }, failed: [] }, 'what was marked on purpose goes by itself')
})

t.test('more than half of over ten links are not marked in one run, unless one insists', async (t) => {
  const repo = await repoWith(t, 21, 10)
  const collector = collectorOf()
  await repo.age(61)
  t.match((await collector.collect()).failed, [
    { repoId: repo.repoId, error: { code: 'conflict', message: `repository ${repo.repoId} would lose 11 of 21 links to large objects, over 50 %` } },
  ])
  t.notOk((await repo.states()).includes('marked'))
  t.match(await collectorOf({ maxShrink: { share: 0.6, floor: 10 } }).collect({ dryRun: true }), { links: { marked: 11 }, failed: [] })
  t.match(await collectorOf({ maxShrink: { share: 0.5, floor: 11 } }).collect({ dryRun: true }), { links: { marked: 11 }, failed: [] })
  t.match(await collector.collect({ force: true }), { links: { marked: 11 }, failed: [] })
})

t.test('many repositories that would lose a few links each are many links', async (t) => {
  await repoWith(t, 0, 0)
  for (let i = 0; i < 4; i++) {
    const repoId = await insertRepo(db, actorId)
    const contents = Array.from({ length: 4 }, newContent)
    for (const content of contents) await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
    live.set(repoId, new Set([oidOf(contents[0]!)]))
  }
  await db.execute(sql`UPDATE repo_large_object SET last_seen = now() - interval '61 minutes'`)
  const before = await linkRows()
  const message = 'the hub would lose 12 of 16 links to large objects, over 50 %'
  await t.rejects(collectorOf().collect(), { code: 'conflict', message })
  await t.rejects(collectorOf().collect({ dryRun: true }), { code: 'conflict', message })
  t.same(await linkRows(), before)
  t.match(await collectorOf().collect({ force: true }), { links: { marked: 12 } })
})

t.test('a repository that cannot be looked at keeps its links, and nobody else theirs', async (t) => {
  const repo = await repoWith(t, 2, 1)
  const broken = await insertRepo(db, actorId)
  const content = newContent()
  await largeFiles.receive(uploadOf(content, { repoId: broken, actorId }), pieces(content))
  await db.execute(sql`UPDATE repo_large_object SET last_seen = now() - interval '61 minutes'`)
  const error = new Error('a pack is corrupt')
  const collector = collectorOf({ livePointers: async (repoId) => (repoId === broken ? Promise.reject(error) : live.get(repoId)!) })
  t.match(await collector.collect(), { repositories: 2, links: { marked: 1 }, failed: [{ repoId: broken, error }] })
  t.same(await repo.states(), ['linked', 'marked'])
  t.equal(await linkOf(db, broken, oidOf(content)), 'linked')
})

t.test('a run that is stopped stops', async (t) => {
  await repoWith(t, 1, 1)
  const reason = new Error('enough')
  await t.rejects(collectorOf().collect({ signal: AbortSignal.abort(reason) }), reason)
})

t.test('a thousand links and more are treated in portions', async (t) => {
  const repo = await repoWith(t, 1, 1)
  await db.execute(sql`INSERT INTO large_object (sha256, size) SELECT sha256(n::text::bytea), 1 FROM generate_series(1, 2500) n`)
  await db.execute(sql`
    INSERT INTO repo_large_object (repo_id, sha256, last_seen) SELECT ${repo.repoId}::bigint, sha256, now() - interval '2 hours' FROM large_object WHERE size = 1`)
  const collector = collectorOf()
  t.match(await collector.collect({ force: true }), { links: { renewed: 0, marked: 2500 }, failed: [] })
  await db.execute(sql`UPDATE repo_large_object SET unlinked_at = unlinked_at - interval '2 hours'`)
  t.match(await collector.collect(), { links: { renewed: 0, removed: 2500 }, failed: [] })
  t.same((await collector.collect()).objects, { marked: 2500, removed: 0, removedBytes: 0 })
  await db.execute(sql`UPDATE large_object SET unlinked_at = unlinked_at - interval '2 hours'`)
  t.same((await collector.collect()).objects, { marked: 0, removed: 2500, removedBytes: 2500 })
})

/* Links: uploads, claims and pushes against a run. */

/** A repository with a link that is due to be marked, or removed, by the next run. */
async function withDueLink(t: Test, step: 'mark' | 'remove') {
  const repo = await repoWith(t, 2, 1)
  await repo.age(61)
  if (step === 'remove') {
    await collectorOf().collect()
    await repo.age(61)
  }
  const [content, oid] = [repo.contents[1]!, repo.oids[1]!]
  return { ...repo, content, oid, link: () => linkOf(db, repo.repoId, oid) }
}

/** The ways in which a link comes to be in use, as transactions. */
const renewals: readonly [name: string, renew: (on: Database, repoId: number, content: string) => Promise<unknown>][] = [
  ['an upload', (on, repoId, content) => withOptions({ db: on }).receive(uploadOf(content, { repoId, actorId }), pieces(content))],
  ['a claim', (on, repoId, content) => withOptions({ db: on }).claim({ repoId, objects: [{ oid: oidOf(content), size: 50 }], mayRead: () => false })],
  ['a push', (on, repoId, content) => on.transaction((tx) => renewLinks(tx, repoId, [oidOf(content)]))],
]
const touchesLink = /repo_large_object/

for (const [name, renew] of renewals) {
  for (const step of ['mark', 'remove'] as const) {
    t.test(`${name} comes first: the run that would ${step} the link waits for it, and spares it`, async (t) => {
      const due = await withDueLink(t, step)
      const stepping = steppingDatabase(db)
      const touched = stepping.pauseBefore(touchesLink)
      const renewing = renew(stepping.db, due.repoId, due.content)
      await touched.reached
      const commit = stepping.pauseBefore('COMMIT')
      touched.open()
      await commit.reached
      const running = collectorOf().collect()
      await untilWaiting(db)
      commit.open()
      await renewing
      t.match(await running, { links: { marked: 0, removed: 0 }, failed: [] })
      t.equal(await due.link(), 'linked')
    })

    t.test(`the run that would ${step} the link comes first: ${name} waits for it`, async (t) => {
      const due = await withDueLink(t, step)
      const stepping = steppingDatabase(db)
      const deciding = stepping.pauseBefore(step === 'mark' ? /SET unlinked_at = now/ : /DELETE FROM repo_large_object/)
      const running = collectorOf({ db: stepping.db }).collect()
      await deciding.reached
      const commit = stepping.pauseBefore('COMMIT')
      deciding.open()
      await commit.reached
      const renewing = renew(db, due.repoId, due.content)
      await untilWaiting(db)
      commit.open()
      t.match((await running).links, step === 'mark' ? { marked: 1 } : { removed: 1 })
      const renewed = await renewing
      if (step === 'mark' || name === 'an upload') {
        t.equal(await due.link(), 'linked')
      } else {
        t.same([...(renewed as Iterable<unknown>)], [], 'it has to be sent')
        t.equal(await due.link(), undefined)
      }
    })
  }
}

/** A run that has its plan, held before it begins to execute it. */
async function plannedRun() {
  const stepping = steppingDatabase(db)
  const begins = stepping.pauseBefore(/FROM repositories WHERE id = \$1 FOR SHARE/)
  const running = collectorOf({ db: stepping.db }).collect()
  await begins.reached
  return { running, begins }
}

t.test('a link renewed between the plan and its execution is spared', async (t) => {
  for (const step of ['mark', 'remove'] as const) {
    const due = await withDueLink(t, step)
    const { running, begins } = await plannedRun()
    await largeFiles.claim({ repoId: due.repoId, objects: [{ oid: due.oid, size: 50 }], mayRead: () => false })
    begins.open()
    t.match((await running).links, { marked: 0, removed: 0 })
    t.equal(await due.link(), 'linked')
  }
})

t.test('refs that moved since the live set was read make a run look again', async (t) => {
  for (const step of ['mark', 'remove'] as const) {
    const due = await withDueLink(t, step)
    const { running, begins } = await plannedRun()
    // A branch is put back on a commit that the hub still had: no link is renewed by that.
    due.points(0, 1)
    await db.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${due.repoId}`)
    begins.open()
    t.match(await running, { links: { marked: 0, removed: 0 }, failed: [] })
    t.equal(await due.link(), 'linked')
  }
})

t.test('a repository that changes all the time is left for another run', async (t) => {
  const due = await withDueLink(t, 'remove')
  let asked = 0
  const collector = collectorOf({
    async livePointers(repoId) {
      asked += 1
      await db.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${repoId}`)
      return live.get(repoId)!
    },
  })
  t.match(await collector.collect(), { links: { removed: 0 }, failed: [{ repoId: due.repoId, error: { code: 'busy' } }] })
  t.equal(asked, 3)
  t.equal(await due.link(), 'marked')
})

t.test('a push that comes first moves the refs under the eyes of the run, which looks again', async (t) => {
  const due = await withDueLink(t, 'remove')
  const push = await holdTransaction(db)
  await push.tx.query(sql`SELECT FROM repositories WHERE id = ${due.repoId} FOR NO KEY UPDATE`)
  await push.tx.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${due.repoId}`)
  const running = collectorOf().collect()
  await untilWaiting(db)
  due.points(0, 1)
  await push.commit()
  t.match(await running, { links: { removed: 0 }, failed: [] })
  t.equal(await due.link(), 'linked')
})

t.test('rows that stay locked are left for another run', async (t) => {
  const due = await withDueLink(t, 'mark')
  const holder = await holdTransaction(db)
  await holder.tx.query(sql`SELECT FROM repo_large_object WHERE repo_id = ${due.repoId} FOR UPDATE`)
  const { links, failed } = await collectorOf({ lockWaitMs: 50 }).collect()
  t.match(links, { marked: 0 })
  t.match(failed, [{ repoId: due.repoId, error: { code: 'busy' } }])
  await holder.commit()
  t.match((await collectorOf().collect()).links, { marked: 1 })
})

/* Objects: uploads and claims against their removal. */

/** An object without links, marked long ago. */
async function dueObject(t: Test, keepLink = false) {
  await forgetAll()
  t.teardown(forgetAll)
  const [there, here] = [await insertRepo(db, actorId), await insertRepo(db, actorId)]
  const content = newContent()
  const oid = oidOf(content)
  await largeFiles.receive(uploadOf(content, { repoId: there, actorId }), pieces(content))
  await db.execute(sql`UPDATE large_object SET unlinked_at = now() - interval '2 hours' WHERE sha256 = decode(${oid}, 'hex')`)
  if (!keepLink) await db.execute(sql`DELETE FROM repo_large_object WHERE sha256 = decode(${oid}, 'hex')`)
  return { there, here, content, oid, upload: uploadOf(content, { repoId: here, actorId }) }
}

t.test('an upload comes first: the removal of the object waits for it, and spares it', async (t) => {
  const { content, oid, here, upload } = await dueObject(t)
  const stepping = steppingDatabase(db)
  const linking = stepping.pauseBefore(/INSERT INTO repo_large_object/)
  const receiving = withOptions({ db: stepping.db }).receive(upload, pieces(content))
  await linking.reached
  const removing = collectorOf().removeObject(oid)
  await untilWaiting(db)
  linking.open()
  await receiving
  t.equal(await removing, false)
  t.match(await tracesOf(db, store, oid), { objects: 1, representations: 1, links: 1 })
  t.equal((await largeFiles.find(here, [oid])).size, 1)
})

t.test('the removal of the object comes first: the upload waits for it, and makes it anew', async (t) => {
  const { content, oid, here, upload } = await dueObject(t)
  for (const point of [/DELETE FROM representation/, 'COMMIT'] as const) {
    await db.execute(sql`UPDATE large_object SET unlinked_at = now() - interval '2 hours' WHERE sha256 = decode(${oid}, 'hex')`)
    await db.execute(sql`DELETE FROM repo_large_object WHERE sha256 = decode(${oid}, 'hex')`)
    const stepping = steppingDatabase(db)
    const removal = stepping.pauseBefore(point)
    const removing = collectorOf({ db: stepping.db }).removeObject(oid)
    await removal.reached
    const receiving = largeFiles.receive(upload, pieces(content))
    await untilWaiting(db)
    removal.open()
    t.equal(await removing, true, String(point))
    await receiving
    t.match(await tracesOf(db, store, oid), { objects: 1, representations: 1, links: 1, uploads: 0 })
    t.equal((await largeFiles.find(here, [oid])).size, 1)
    t.equal(await readAll(await largeFiles.open(oid)), content)
  }
})

t.test('a claim comes first: the removal of the object waits for it, looks again and spares it', async (t) => {
  const { oid, here, there } = await dueObject(t, true)
  const stepping = steppingDatabase(db)
  const linking = stepping.pauseBefore('COMMIT')
  const claiming = withOptions({ db: stepping.db }).claim({ repoId: here, objects: [{ oid, size: 50 }], mayRead: () => true })
  await linking.reached
  // The link that it was made from goes meanwhile.
  await db.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${there} AND sha256 = decode(${oid}, 'hex')`)
  const removing = collectorOf().removeObject(oid)
  await untilWaiting(db)
  linking.open()
  t.equal((await claiming).size, 1)
  t.equal(await removing, false)
  t.match(await tracesOf(db, store, oid), { objects: 1, representations: 1, links: 1 })
  t.equal((await largeFiles.find(here, [oid])).size, 1)
})

t.test('the removal of the object comes first: a claim that saw its last link waits, and has to send it', async (t) => {
  const { oid, here, there } = await dueObject(t, true)
  const stepping = steppingDatabase(db)
  const locking = stepping.pauseBefore(/FOR KEY SHARE/)
  const claiming = withOptions({ db: stepping.db }).claim({ repoId: here, objects: [{ oid, size: 50 }], mayRead: () => true })
  await locking.reached
  await db.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${there} AND sha256 = decode(${oid}, 'hex')`)
  const removal = stepping.pauseBefore('COMMIT')
  const removing = collectorOf({ db: stepping.db }).removeObject(oid)
  await removal.reached
  locking.open()
  await untilWaiting(db)
  removal.open()
  t.equal(await removing, true)
  t.same([...(await claiming)], [])
  t.match(await tracesOf(db, store, oid), { objects: 0, links: 0 })
})

t.test('a claim whose readable link goes before it is used links nothing', async (t) => {
  const { oid, here, there } = await dueObject(t, true)
  const linked = await db.transaction(async (tx) => {
    await db.execute(sql`DELETE FROM repo_large_object WHERE repo_id = ${there} AND sha256 = decode(${oid}, 'hex')`)
    return linkFromRepositories(tx, here, [{ oid, size: 50 }], [there])
  })
  t.same(linked, [])
  t.equal(await linkOf(db, here, oid), undefined)
})

t.test('an object that stays locked is left for another run', async (t) => {
  const { oid } = await dueObject(t)
  const holder = await holdTransaction(db)
  await holder.tx.query(sql`SELECT FROM large_object WHERE sha256 = decode(${oid}, 'hex') FOR KEY SHARE`)
  t.equal(await collectorOf({ lockWaitMs: 50 }).removeObject(oid), false)
  await holder.commit()
  t.equal(await collectorOf({ lockWaitMs: 50 }).removeObject(oid), true)
})

/* Blobs: uploads against src/kept. */

t.test('the blob is doomed between keeping and linking: it is kept again, and linked', async (t) => {
  const { content, oid, here, upload } = await dueObject(t)
  await collectorOf().removeObject(oid)
  const key = lfsKey(Buffer.from(oid, 'hex'))
  const stepping = steppingDatabase(db)
  const linking = stepping.pauseBefore(/FROM stored_blob .*FOR SHARE/s)
  const receiving = withOptions({ db: stepping.db }).receive(upload, pieces(content))
  await linking.reached
  await age(db, key)
  t.equal(await blobs.doom(key), true)
  linking.open()
  await receiving
  t.equal(await stateOf(db, key), 'live')
  t.equal((await largeFiles.find(here, [oid])).size, 1)
  t.equal(await readAll(await largeFiles.open(oid)), content)
})

t.test('the blob goes entirely between keeping and linking: the client is told to send it again, and that works', async (t) => {
  const { content, oid, here, upload } = await dueObject(t)
  await collectorOf().removeObject(oid)
  const key = lfsKey(Buffer.from(oid, 'hex'))
  const stepping = steppingDatabase(db)
  const linking = stepping.pauseBefore(/FROM stored_blob .*FOR SHARE/s)
  const rejected = t.rejects(withOptions({ db: stepping.db }).receive(upload, pieces(content)), { code: 'busy' })
  await linking.reached
  await age(db, key)
  await blobs.doom(key)
  await age(db, key)
  t.equal(await blobs.finish(key), true)
  linking.open()
  await rejected
  t.match(await tracesOf(db, store, oid), { objects: 0, links: 0, uploads: 0, staged: 0, stored: 0 })
  await largeFiles.receive(upload, pieces(content))
  t.equal((await largeFiles.find(here, [oid])).size, 1)
  t.equal(await readAll(await largeFiles.open(oid)), content)
})

t.test('the object is linked while its blob is about to be doomed: doom waits, and spares it', async (t) => {
  const { content, oid, upload } = await dueObject(t)
  await collectorOf().removeObject(oid)
  const key = lfsKey(Buffer.from(oid, 'hex'))
  const stepping = steppingDatabase(db)
  const linking = stepping.pauseBefore(/DELETE FROM lfs_upload/)
  const receiving = withOptions({ db: stepping.db }).receive(upload, pieces(content))
  await linking.reached
  await db.execute(sql`SELECT pg_sleep(0)`)
  const dooming = createCollector({ db, store, unusedGraceMs: 0, doomedGraceMs: hour, storeTimeoutMs: 1000, lockWaitMs: 20_000 }).doom(key)
  await untilWaiting(db)
  linking.open()
  await receiving
  t.equal(await dooming, false)
  t.equal(await stateOf(db, key), 'live')
})

t.test('bytes on their way in keep the blob they would have, if there were one', async (t) => {
  const { upload, content } = await dueObject(t)
  await largeFiles.receive(
    upload,
    pieces(content, async (sent) => {
      if (sent !== 24) return
      const [row] = await db.query<{ key: string }>(sql`SELECT key FROM lfs_upload WHERE key IS NOT NULL`)
      await db.execute(sql`INSERT INTO stored_blob (key, bytes, last_used_at) VALUES (${row!.key}, 50, now() - interval '1 year')`)
      t.equal(await blobs.doom(row!.key as never), false)
      t.notOk((await blobs.collect({ dryRun: true })).doomed.some(({ key }) => key === row!.key))
      await db.execute(sql`DELETE FROM stored_blob WHERE key = ${row!.key}`)
    }),
  )
})

t.test('an object that is linked cannot be deleted by any mistake, nor its blob', async (t) => {
  const { oid } = await dueObject(t, true)
  await t.rejects(db.execute(sql`DELETE FROM large_object WHERE sha256 = decode(${oid}, 'hex')`), { code: '23503' })
  await t.rejects(db.execute(sql`DELETE FROM stored_blob WHERE key = ${lfsKey(Buffer.from(oid, 'hex'))}`), { code: '23503' })
  t.equal(await collectorOf().removeObject(oid), false)
})
