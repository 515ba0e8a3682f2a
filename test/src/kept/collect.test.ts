import t from 'tap'
import { CommitOutcomeUnknown, type Database } from '../../../src/db/pool.js'
import { sql } from '../../../src/db/sql.js'
import { keepBlobs, linkBlobs } from '../../../src/db/stored-blobs.js'
import { createCollector, type CollectorOptions } from '../../../src/kept/collect.js'
import { createKeeper, lockKept } from '../../../src/kept/keep.js'
import type { BlobKey } from '../../../src/storage/blob-store.js'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { testDatabase } from '../../support/postgres.js'
import {
  age,
  blobOf,
  content,
  gatedDeletes,
  holdTransaction,
  insertBlob,
  insertRepository,
  newKey,
  newKeys,
  settledWithin,
  stateOf,
  steppingDatabase,
  untilWaiting,
} from '../../support/stored-blobs.js'

/*
 * Every order in which keeping, linking and deleting one blob can meet, one step at a time. Rows are made older by `age`; nothing waits for a clock.
 */

const db = await testDatabase(t)
const repoId = await insertRepository(db)
const store = createMemoryBlobStore()
const keeper = createKeeper({ db, store, pollMs: 5 })
const hour = 3_600_000
const collectorOf = (options: Partial<CollectorOptions> = {}) =>
  createCollector({ db, store, unusedGraceMs: hour, doomedGraceMs: hour, storeTimeoutMs: 60_000, ...options })
const collector = collectorOf()

const link = (key: BlobKey) => ({ key, repoId, packId: null, kind: 'pack' as const })
/** As `applyUpdate` does it: locks, counts, links. False: it has to be kept again. */
const linkKept = (key: BlobKey): Promise<boolean> =>
  db.transaction(async (tx) => {
    const kept = await lockKept(tx, [key])
    if (kept) await linkBlobs(tx, [link(key)])
    return kept
  })
const hasBytes = async (key: BlobKey): Promise<boolean> => (await store.stat(key)) !== undefined

/** A blob with row and bytes, as an update left it that was never heard of again. */
async function keepUnused(state: 'live' | 'doomed' | 'deleting' = 'live'): Promise<BlobKey> {
  const key = newKey()
  await insertBlob(db, key, state)
  await blobOf(store, key).write()
  return key
}

t.test('a blob that nothing came to link goes from live to doomed to gone, each after its grace', async (t) => {
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  t.equal(await collector.doom(key), false, 'it is too young')
  await age(db, key, 59)
  t.equal(await collector.doom(key), false)
  await age(db, key, 2)
  t.equal(await collector.finish(key), false, 'nothing is deleted that was not doomed')
  t.equal(await collector.doom(key), true)
  t.equal(await stateOf(db, key), 'doomed')
  t.equal(await hasBytes(key), true)
  t.equal(await collector.doom(key), false, 'once is enough')
  t.equal(await collector.finish(key), false, 'it was doomed just now')
  await age(db, key, 59)
  t.equal(await collector.finish(key), false)
  await age(db, key, 2)
  t.equal(await collector.finish(key), true)
  t.equal(await stateOf(db, key), undefined)
  t.equal(await hasBytes(key), false)
  t.equal(await collector.finish(key), false)
  t.equal(await collector.doom(key), false)
})

t.test('a row whose bytes never came goes the same way', async (t) => {
  const key = newKey()
  await t.rejects(keeper.keep([{ ...blobOf(store, key), write: () => Promise.reject(new Error('died before the bytes')) }]))
  t.equal(await stateOf(db, key), 'live')
  await age(db, key)
  t.equal(await collector.doom(key), true)
  await age(db, key)
  t.equal(await collector.finish(key), true)
  t.equal(await stateOf(db, key), undefined)
})

t.test('a row whose bytes never came is completed by the next who brings them', async (t) => {
  const key = newKey()
  await insertBlob(db, key, 'live')
  await keeper.keep([blobOf(store, key)])
  t.equal(await hasBytes(key), true)
  t.equal(await collector.doom(key), false)
})

t.test('a linked blob is never doomed, and cannot be deleted by any mistake', async (t) => {
  const key = await keepUnused()
  t.equal(await linkKept(key), true)
  await age(db, key)
  t.equal(await collector.doom(key), false)
  t.equal(await stateOf(db, key), 'live')
  await t.rejects(db.execute(sql`DELETE FROM stored_blob WHERE key = ${key}`), { code: '23503' })
  await db.execute(sql`DELETE FROM blob_link WHERE key = ${key}`)
  t.equal(await collector.doom(key), true, 'the last link has gone')
})

t.test('a link made meanwhile is seen: doom waits for the linking transaction, then looks again and spares the blob', async (t) => {
  const key = await keepUnused()
  const linking = await holdTransaction(db)
  t.equal(await lockKept(linking.tx, [key]), true)
  await linkBlobs(linking.tx, [link(key)])
  const dooming = collectorOf({ lockWaitMs: 20_000 }).doom(key)
  await untilWaiting(db)
  await linking.commit()
  t.equal(await dooming, false)
  t.equal(await stateOf(db, key), 'live')
  t.equal(await hasBytes(key), true)
})

t.test('a linking transaction that rolls back spares nothing', async (t) => {
  const key = await keepUnused()
  const linking = await holdTransaction(db)
  await lockKept(linking.tx, [key])
  await linkBlobs(linking.tx, [link(key)])
  const dooming = collectorOf({ lockWaitMs: 20_000 }).doom(key)
  await untilWaiting(db)
  await linking.rollback()
  t.equal(await dooming, true)
})

t.test('a row that stays locked is left for another time', async (t) => {
  const key = await keepUnused()
  const doomed = await keepUnused('doomed')
  const holder = await holdTransaction(db)
  await holder.tx.query(sql`SELECT FROM stored_blob WHERE key = ANY (${[key, doomed]}::text[]) FOR SHARE`)
  const impatient = collectorOf({ lockWaitMs: 50 })
  t.equal(await impatient.doom(key), false)
  t.equal(await impatient.finish(doomed), false)
  await holder.commit()
  t.equal(await impatient.doom(key), true)
  t.equal(await impatient.finish(doomed), true)
})

t.test('keeping comes first: doom waits for it, and finds the row young', async (t) => {
  const key = await keepUnused()
  const keeping = await holdTransaction(db)
  t.same(await keepBlobs(keeping.tx, [{ key, bytes: content.length }]), [key])
  const dooming = collectorOf({ lockWaitMs: 20_000 }).doom(key)
  await untilWaiting(db)
  await keeping.commit()
  t.equal(await dooming, false)
  t.equal(await stateOf(db, key), 'live')
  t.equal(await linkKept(key), true)
})

t.test('dooming comes first: keeping waits for it, and revives the row', async (t) => {
  const key = await keepUnused()
  const stepping = steppingDatabase(db)
  const commit = stepping.pauseBefore('COMMIT')
  const dooming = collectorOf({ db: stepping.db }).doom(key)
  await commit.reached
  const keeping = keeper.keep([blobOf(store, key)])
  await untilWaiting(db)
  commit.open()
  t.equal(await dooming, true)
  await keeping
  t.equal(await stateOf(db, key), 'live')
  t.equal(await linkKept(key), true)
  await age(db, key)
  t.equal(await collector.finish(key), false)
})

t.test('dooming comes between keeping and linking: the link fails, and keeping again makes it good', async (t) => {
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  await age(db, key)
  const stepping = steppingDatabase(db)
  const commit = stepping.pauseBefore('COMMIT')
  const dooming = collectorOf({ db: stepping.db }).doom(key)
  await commit.reached
  const linking = linkKept(key)
  await untilWaiting(db)
  commit.open()
  t.equal(await dooming, true)
  t.equal(await linking, false, 'the row is short')
  t.equal(await linkKept(key), false)
  await keeper.keep([blobOf(store, key)])
  t.equal(await linkKept(key), true)
  t.equal(await hasBytes(key), true)
})

t.test('the blob goes entirely between keeping and linking: keeping again brings row and bytes back', async (t) => {
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  await age(db, key)
  await collector.doom(key)
  await age(db, key)
  t.equal(await collector.finish(key), true)
  t.equal(await linkKept(key), false)
  await keeper.keep([blobOf(store, key)])
  t.equal(await linkKept(key), true)
  t.equal(await hasBytes(key), true)
})

t.test('a doomed blob that was revived is not deleted, also when reviving is under way', async (t) => {
  const revived = await keepUnused('doomed')
  await keeper.keep([blobOf(store, revived)])
  await age(db, revived)
  t.equal(await collector.finish(revived), false)
  t.equal(await hasBytes(revived), true)

  const key = await keepUnused('doomed')
  const keeping = await holdTransaction(db)
  await keepBlobs(keeping.tx, [{ key, bytes: content.length }])
  const finishing = collectorOf({ lockWaitMs: 20_000 }).finish(key)
  await untilWaiting(db)
  await keeping.commit()
  t.equal(await finishing, false)
  t.equal(await stateOf(db, key), 'live')
  t.equal(await hasBytes(key), true)
})

t.test('a doomed blob that is linked all the same is spared, and live again', async (t) => {
  const key = await keepUnused('doomed')
  // Nobody should: whoever links has to lock it as live.
  const linking = await holdTransaction(db)
  await linkBlobs(linking.tx, [link(key)])
  const finishing = collectorOf({ lockWaitMs: 20_000 }).finish(key)
  await untilWaiting(db)
  await linking.commit()
  t.equal(await finishing, false)
  t.equal(await stateOf(db, key), 'live')
  t.equal(await hasBytes(key), true)
})

t.test('deleting comes first: keeping waits until bytes and row have gone, and then brings both anew', async (t) => {
  const key = await keepUnused('doomed')
  const stepping = steppingDatabase(db)
  const commit = stepping.pauseBefore('COMMIT')
  const gated = gatedDeletes(store)
  const deletion = gated.nextDelete()
  const finishing = collectorOf({ db: stepping.db, store: gated.store }).finish(key)
  await commit.reached
  let written = false
  const keeping = keeper.keep([blobOf(store, key, () => (written = true))])
  await untilWaiting(db)
  t.equal(await hasBytes(key), true, 'bytes go after the commit, not before')
  commit.open()
  await deletion.reached
  t.equal(await stateOf(db, key), 'deleting')
  t.equal(await linkKept(key), false)
  t.equal(await settledWithin(keeping, 50), false)
  t.equal(written, false)
  deletion.open()
  t.equal(await finishing, true)
  await keeping
  t.equal(written, true)
  t.equal(await hasBytes(key), true)
  t.equal(await linkKept(key), true)
})

t.test('the hub dies between `deleting` and the bytes: another finishes it, once nothing can be on its way any more', async (t) => {
  const key = await keepUnused('doomed')
  const gated = gatedDeletes(store)
  const deletion = gated.nextDelete()
  const dead = collectorOf({ store: gated.store }).finish(key)
  await deletion.reached
  t.equal(await stateOf(db, key), 'deleting')

  const next = collectorOf()
  t.same(await next.finishDeleting(), { deleted: [], failed: [] }, 'the request may still be on its way')
  t.equal(await next.finish(key), false)
  t.equal(await next.doom(key), false)
  await age(db, key, 1.9)
  t.same((await next.finishDeleting()).deleted, [])
  t.equal(await hasBytes(key), true)
  await age(db, key, 0.2)
  t.same((await next.finishDeleting()).deleted, [{ key, bytes: 10 }])
  t.equal(await stateOf(db, key), undefined)
  t.equal(await hasBytes(key), false)

  // The dead one was not as dead as it seemed: it must not remove a row that is not its own.
  await insertBlob(db, key, 'deleting')
  deletion.open()
  t.equal(await dead, false)
  t.equal(await stateOf(db, key), 'deleting')
})

t.test('the hub dies between the bytes and the row: another removes the row', async (t) => {
  const key = newKey()
  await insertBlob(db, key, 'deleting')
  const deleted = (await collector.finishDeleting()).deleted.map(({ key }) => key)
  t.ok(deleted.includes(key))
  t.equal(await stateOf(db, key), undefined)
})

t.test('a delete that fails is tried again, but not before the first can no longer take effect', async (t) => {
  const key = await keepUnused('doomed')
  const gated = gatedDeletes(store)
  const own = collectorOf({ store: gated.store })
  const first = gated.nextDelete()
  first.fail(new Error('no answer'))
  await t.rejects(own.finish(key), { message: 'no answer' })
  t.equal(await stateOf(db, key), 'deleting')
  t.same(await own.finishDeleting(), { deleted: [], failed: [] })
  const impatient = createKeeper({ db, store, maxWaitMs: 50, pollMs: 10 })
  await t.rejects(impatient.keep([blobOf(store, key)]), { code: 'busy' })

  await age(db, key, 3)
  const second = gated.nextDelete()
  const error = new Error('no answer again')
  second.fail(error)
  t.same(await own.finishDeleting(), { deleted: [], failed: [{ key, error }] })
  t.same(await own.finishDeleting(), { deleted: [], failed: [] }, 'each attempt counts')
  await age(db, key, 3)
  t.same((await own.finishDeleting()).deleted, [{ key, bytes: 10 }])
  t.equal(await hasBytes(key), false)
})

t.test('what this process is deleting it does not begin a second time, however short the rest', async (t) => {
  const key = await keepUnused('doomed')
  const gated = gatedDeletes(store)
  const deletion = gated.nextDelete()
  const own = collectorOf({ store: gated.store, storeTimeoutMs: 0 })
  const finishing = own.finish(key)
  await deletion.reached
  await age(db, key)
  t.same(await own.finishDeleting(), { deleted: [], failed: [] })
  t.equal(await own.finish(key), false)
  t.equal(await stateOf(db, key), 'deleting')
  await db.execute(sql`UPDATE stored_blob SET state_at = state_at + interval '120 minutes' WHERE key = ${key}`)
  deletion.open()
  t.equal(await finishing, true)
})

t.test('two hubs that collect at once delete a blob once', async (t) => {
  const key = await keepUnused('doomed')
  const left = await keepUnused('deleting')
  const results = await Promise.all([collectorOf(), collectorOf(), collectorOf()].map((collector) => collector.finish(key)))
  t.equal(results.filter((deleted) => deleted).length, 1)
  const runs = await Promise.all([collectorOf(), collectorOf(), collectorOf()].map((collector) => collector.finishDeleting()))
  t.same(
    runs.flatMap(({ deleted }) => deleted),
    [{ key: left, bytes: 10 }],
  )
})

t.test('what another hub took on after it was listed here is left to it', async (t) => {
  const [first, second] = newKeys(2) as [BlobKey, BlobKey]
  for (const key of [first, second]) await insertBlob(db, key, 'deleting')
  const [here, there] = [gatedDeletes(store), gatedDeletes(store)]
  const [deletionHere, deletionThere] = [here.nextDelete(), there.nextDelete()]
  const runHere = collectorOf({ store: here.store }).finishDeleting()
  await deletionHere.reached
  const runThere = collectorOf({ store: there.store }).finishDeleting()
  await deletionThere.reached
  deletionHere.open()
  t.same((await runHere).deleted, [{ key: first, bytes: 10 }])
  deletionThere.open()
  t.same((await runThere).deleted, [{ key: second, bytes: 10 }])
})

t.test('bytes stay when nobody knows whether `deleting` was committed', async (t) => {
  const key = await keepUnused('doomed')
  const unlucky: Database = {
    ...db,
    async transaction(work, options) {
      await db.transaction(work, options)
      throw new CommitOutcomeUnknown(new Error('connection lost'))
    },
  }
  await t.rejects(collectorOf({ db: unlucky }).finish(key), { name: 'CommitOutcomeUnknown' })
  t.equal(await hasBytes(key), true)
  t.equal(await stateOf(db, key), 'deleting')
  await age(db, key)
  t.same((await collector.finishDeleting()).deleted, [{ key, bytes: 10 }])
})

t.test('a run does all that is due; a dry run names it and touches nothing', async (t) => {
  await db.execute(sql`DELETE FROM stored_blob b WHERE NOT EXISTS (SELECT FROM blob_link l WHERE l.key = b.key)`)
  const [unused, doomed, deleting] = [await keepUnused(), await keepUnused('doomed'), await keepUnused('deleting')]
  const linked = await keepUnused()
  await linkKept(linked)
  await age(db, linked)
  const [young, freshlyDoomed, freshlyDeleting] = newKeys(3) as [BlobKey, BlobKey, BlobKey]
  await keeper.keep([blobOf(store, young)])
  await insertBlob(db, freshlyDoomed, 'doomed', 0)
  await insertBlob(db, freshlyDeleting, 'deleting', 0)
  const snapshot = () => db.query(sql`SELECT * FROM stored_blob ORDER BY key`)
  const before = await snapshot()

  const expected = { doomed: [{ key: unused, bytes: 10 }], deleted: [deleting, doomed].map((key) => ({ key, bytes: 10 })), failed: [] }
  t.same(await collector.collect({ dryRun: true }), expected)
  t.same(await snapshot(), before)
  t.equal(await hasBytes(doomed), true)

  t.same(await collector.collect(), expected)
  t.equal(await stateOf(db, unused), 'doomed')
  for (const key of [doomed, deleting]) t.same([await stateOf(db, key), await hasBytes(key)], [undefined, false])
  for (const key of [linked, young]) t.same([await stateOf(db, key), await hasBytes(key)], ['live', true])
  t.equal(await stateOf(db, freshlyDoomed), 'doomed')
  t.equal(await stateOf(db, freshlyDeleting), 'deleting')
  t.same(await collector.collect(), { doomed: [], deleted: [], failed: [] })
})

t.test('one blob that cannot be deleted keeps nobody from deleting the others, and rows over a page are all seen', async (t) => {
  await db.execute(sql`DELETE FROM stored_blob b WHERE NOT EXISTS (SELECT FROM blob_link l WHERE l.key = b.key)`)
  await db.execute(sql`
    INSERT INTO stored_blob (key, bytes, state, last_used_at, state_at)
    SELECT 'staging/row-' || lpad(i::text, 5, '0'), 1, CASE WHEN i <= 1100 THEN 'doomed' ELSE 'live' END, now() - interval '1 day', now() - interval '1 day'
    FROM generate_series(1, 2200) AS i`)
  const broken = {
    ...store,
    delete: async (key: BlobKey) => {
      if (key === 'staging/row-00003') throw new Error('no')
    },
  }
  const { doomed, deleted, failed } = await collectorOf({ store: broken }).collect()
  t.equal(doomed.length, 1100)
  t.equal(deleted.length, 1099)
  t.same(
    failed.map(({ key }) => key),
    ['staging/row-00003'],
  )
  t.equal(await stateOf(db, 'staging/row-00003' as BlobKey), 'deleting')
  t.equal(await stateOf(db, 'staging/row-00004' as BlobKey), undefined)
})
