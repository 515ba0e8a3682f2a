import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { keepBlobs, linkBlobs } from '../../../src/db/stored-blobs.js'
import { createKeeper, lockKept, type KeptBlob } from '../../../src/kept/keep.js'
import type { BlobKey } from '../../../src/storage/blob-store.js'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { testDatabase } from '../../support/postgres.js'
import {
  age,
  blobOf,
  content,
  holdTransaction,
  insertBlob,
  insertRepository,
  newKey,
  newKeys,
  settledWithin,
  stateOf,
  untilWaiting,
} from '../../support/stored-blobs.js'

const db = await testDatabase(t)
const store = createMemoryBlobStore()
const keeper = createKeeper({ db, store, pollMs: 5 })

const lockAll = (keys: readonly BlobKey[]) => db.transaction((tx) => lockKept(tx, keys))

t.test('keeps rows first, then bytes, and what was kept can be linked', async (t) => {
  const keys = newKeys(3)
  const states: (string | undefined)[] = []
  const blobs = keys.map((key): KeptBlob => {
    const blob = blobOf(store, key)
    return {
      ...blob,
      write: async () => {
        states.push(...(await Promise.all(keys.map((key) => stateOf(db, key)))))
        await blob.write()
      },
    }
  })
  await keeper.keep(blobs.toReversed())
  t.same(states, Array(9).fill('live'), 'all rows were committed before the first byte was written')
  for (const key of keys) t.match(await store.stat(key), { bytes: content.length })
  t.same(await db.query(sql`SELECT DISTINCT bytes FROM stored_blob WHERE key = ANY (${keys}::text[])`), [{ bytes: 10 }])
  t.equal(await lockAll(keys), true)
})

t.test('keeping nothing, and one key twice, is fine', async (t) => {
  await keeper.keep([])
  t.equal(await lockAll([]), true)
  const key = newKey()
  await keeper.keep([blobOf(store, key), blobOf(store, key)])
  t.equal(await lockAll([key, key]), true)
})

t.test('keeping again makes the row young again', async (t) => {
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  await age(db, key)
  const isYoung = async () =>
    (
      await db.query<{ young: boolean }>(sql`
    SELECT last_used_at > now() - interval '1 minute' AS young FROM stored_blob WHERE key = ${key}`)
    )[0]!.young
  t.equal(await isYoung(), false)
  await keeper.keep([blobOf(store, key)])
  t.equal(await isYoung(), true)
})

t.test('a doomed blob is revived', async (t) => {
  const key = newKey()
  await insertBlob(db, key, 'doomed')
  t.equal(await lockAll([key]), false)
  await keeper.keep([blobOf(store, key)])
  t.equal(await stateOf(db, key), 'live')
  t.equal(await lockAll([key]), true)
})

t.test('a key that is being deleted is waited for, and its bytes are written after its row has gone', async (t) => {
  const [gone, other] = newKeys(2) as [BlobKey, BlobKey]
  await insertBlob(db, gone, 'deleting')
  const written: string[] = []
  const keeping = keeper.keep([gone, other].map((key) => blobOf(store, key, (key) => written.push(key))))
  t.equal(await settledWithin(keeping, 100), false)
  t.equal(await stateOf(db, other), 'live', 'the others have their rows')
  t.equal(await stateOf(db, gone), 'deleting')
  t.same(written, [], 'but no bytes come before all have')
  await db.execute(sql`DELETE FROM stored_blob WHERE key = ${gone}`)
  await keeping
  t.same(written.toSorted(), [gone, other])
  t.equal(await stateOf(db, gone), 'live')
  t.equal(await lockAll([gone, other]), true)
})

t.test('a key that stays in deletion makes the caller try later, and nothing is written', async (t) => {
  const key = newKey()
  await insertBlob(db, key, 'deleting')
  const impatient = createKeeper({ db, store, maxWaitMs: 150, pollMs: 20 })
  const started = performance.now()
  await t.rejects(impatient.keep([blobOf(store, key, () => t.fail('written'))]), {
    name: 'HubError',
    code: 'busy',
    message: `${key} is just being deleted, try again`,
  })
  const ms = performance.now() - started
  t.ok(ms >= 150 && ms < 5_000, `${Math.round(ms)} ms`)
  t.equal(await stateOf(db, key), 'deleting')
})

t.test('a row that stays locked makes the caller try later as well', async (t) => {
  const key = newKey()
  await insertBlob(db, key, 'live')
  const holder = await holdTransaction(db)
  await holder.tx.query(sql`SELECT FROM stored_blob WHERE key = ${key} FOR UPDATE`)
  const impatient = createKeeper({ db, store, maxWaitMs: 100 })
  await t.rejects(impatient.keep([blobOf(store, key, () => t.fail('written'))]), { name: 'HubError', code: 'busy' })
  await holder.commit()
  await impatient.keep([blobOf(store, key)])
})

t.test('two keepers of the same keys in opposite orders do not wait for each other', async (t) => {
  for (const state of ['live', 'doomed', undefined] as const) {
    const keys = newKeys(5)
    const middle = keys[2]!
    if (state) for (const key of keys) await insertBlob(db, key, state)
    const holder = await holdTransaction(db)
    // Whoever comes past this row holds others already.
    if (state) await holder.tx.query(sql`SELECT FROM stored_blob WHERE key = ${middle} FOR UPDATE`)
    else await keepBlobs(holder.tx, [{ key: middle, bytes: 1 }])
    const both = [keys, keys.toReversed()].map((keys) => keeper.keep(keys.map((key) => blobOf(store, key))))
    await untilWaiting(db, 2)
    await holder.rollback()
    await Promise.all(both)
    t.equal(await lockAll(keys), true, `rows that were ${state ?? 'not there'}`)
  }
})

t.test('many keepers and linkers of overlapping keys all come through', async (t) => {
  const repoId = await insertRepository(db)
  const keys = newKeys(12)
  let links = 0
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      for (let round = 0; round < 10; round++) {
        const own = keys.filter((_, k) => (k * 7 + i + round) % 3 !== 0)
        if ((i + round) % 2 === 0) own.reverse()
        await keeper.keep(own.map((key) => blobOf(store, key)))
        await db.transaction(async (tx) => {
          if (!(await lockKept(tx, own))) throw new Error('nobody dooms anything here')
          await linkBlobs(
            tx,
            own.map((key) => ({ key, repoId, packId: null, kind: 'pack' as const })),
          )
          links++
        })
      }
    }),
  )
  t.equal(links, 80)
})

t.test('a keeper waits for a transaction that links, which goes through', async (t) => {
  const repoId = await insertRepository(db)
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  const linking = await holdTransaction(db)
  t.equal(await lockKept(linking.tx, [key]), true)
  const keeping = keeper.keep([blobOf(store, key)])
  await untilWaiting(db)
  await linkBlobs(linking.tx, [{ key, repoId, packId: null, kind: 'pack' }])
  await linking.commit()
  await keeping
  t.equal(await stateOf(db, key), 'live')
})

t.test('two transactions may link one blob at once', async (t) => {
  const repoIds = [await insertRepository(db), await insertRepository(db)]
  const key = newKey()
  await keeper.keep([blobOf(store, key)])
  const both = [await holdTransaction(db), await holdTransaction(db)]
  for (const { tx } of both) t.equal(await lockKept(tx, [key]), true)
  for (const [i, { tx }] of both.entries()) await linkBlobs(tx, [{ key, repoId: repoIds[i]!, packId: null, kind: 'pack' }])
  for (const held of both) await held.commit()
  t.equal(await db.execute(sql`SELECT FROM blob_link WHERE key = ${key}`), 2)
})

t.test('linking again adds nothing', async (t) => {
  const repoId = await insertRepository(db)
  const [a, b] = newKeys(2) as [BlobKey, BlobKey]
  await keeper.keep([a, b].map((key) => blobOf(store, key)))
  const links = [a, b, a].map((key) => ({ key, repoId, packId: null, kind: 'idx' as const }))
  for (let i = 0; i < 2; i++) await db.transaction((tx) => linkBlobs(tx, links))
  await db.transaction((tx) => linkBlobs(tx, []))
  t.equal(await db.execute(sql`SELECT FROM blob_link WHERE repo_id = ${repoId}`), 2)
})

t.test('a transaction that finds a row short, whatever its state, is told so', async (t) => {
  for (const state of ['doomed', 'deleting', undefined] as const) {
    const [kept, short] = newKeys(2) as [BlobKey, BlobKey]
    await keeper.keep([blobOf(store, kept)])
    if (state) await insertBlob(db, short, state)
    t.equal(await lockAll([kept, short]), false, state ?? 'absent')
    t.equal(await lockAll([kept]), true)
  }
})

t.test('a transaction that waits for a lock sees what the row has become', async (t) => {
  for (const [end, expected] of [
    ['commit', false],
    ['rollback', true],
  ] as const) {
    const key = newKey()
    await insertBlob(db, key, 'live')
    const dooming = await holdTransaction(db)
    await dooming.tx.execute(sql`UPDATE stored_blob SET state = 'doomed' WHERE key = ${key}`)
    const locking = lockAll([key])
    await untilWaiting(db)
    await dooming[end]()
    t.equal(await locking, expected, end)
  }
})

t.test('when a write fails the others end first, no new one begins, and the rows stay for the next try', async (t) => {
  const keys = newKeys(8)
  const events: string[] = []
  const blobs = keys.map(
    (key, i): KeptBlob => ({
      ...blobOf(store, key),
      write: async () => {
        events.push(`begin ${i}`)
        if (i === 1) throw new Error('the disk said no')
        await new Promise((resolve) => setTimeout(resolve, 20))
        await blobOf(store, key).write()
        events.push(`end ${i}`)
      },
    }),
  )
  await t.rejects(keeper.keep(blobs), { message: 'the disk said no' })
  t.same(events, ['begin 0', 'begin 1', 'begin 2', 'begin 3', 'end 0', 'end 2', 'end 3'])
  for (const key of keys) t.equal(await stateOf(db, key), 'live')
  await keeper.keep(keys.map((key) => blobOf(store, key)))
  for (const key of keys) t.match(await store.stat(key), { bytes: content.length })
})

t.test('a row alone proves nothing: bytes that are not there, or are others, are noticed', async (t) => {
  const key = newKey()
  await t.rejects(keeper.keep([{ key, bytes: 10, write: async () => undefined }]), {
    code: 'corrupt',
    message: `${key} has no bytes in the store after 10 were written`,
  })
  await t.rejects(keeper.keep([{ ...blobOf(store, key), bytes: 11 }]), {
    code: 'corrupt',
    message: `${key} has 10 bytes in the store after 11 were written`,
  })
})
