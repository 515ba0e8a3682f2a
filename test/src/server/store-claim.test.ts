import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Database } from '../../../src/db/pool.js'
import { sql, type Sql } from '../../../src/db/sql.js'
import { HubError } from '../../../src/errors.js'
import { claimStore, type StoreClaimOptions } from '../../../src/server/store-claim.js'
import { storeIdKey } from '../../../src/storage/keys.js'
import { createMemoryBlobStore, type MemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { testDatabase } from '../../support/postgres.js'

const noLoss = (error: HubError): never => {
  throw error
}

const claimOf = (db: Database, store: MemoryBlobStore, options: Partial<StoreClaimOptions> = {}) =>
  claimStore({ db, store, shared: true, storeName: 'the bucket b', onLost: noLoss, ...options })

async function textOf(store: MemoryBlobStore): Promise<string> {
  let text = ''
  for await (const chunk of await store.open(storeIdKey)) text += Buffer.from(chunk).toString()
  return text
}

/** Ends the sessions that hold the lock, as a restart of the server does. */
const endSessions = (db: Database) =>
  db.query(sql`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)

t.test('the first hub gives the store an id, the next find it, also two that start together', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  const claims = await Promise.all([claimOf(db, store), claimOf(db, store)])
  const id = await textOf(store)
  t.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n$/)
  for (const claim of claims) await claim.release()
  await (await claimOf(db, store)).release()
  t.equal(await textOf(store), id)
})

t.test('a store of another database, or an empty one, is refused', async (t) => {
  const [db, other] = [await testDatabase(t), await testDatabase(t)]
  const [store, another] = [createMemoryBlobStore(), createMemoryBlobStore()]
  await (await claimOf(db, store)).release()
  await (await claimOf(other, another)).release()
  await t.rejects(claimOf(db, another), {
    code: 'config',
    message: /^the bucket b belongs to another database: its store-id says .* CAIRN_S3_BUCKET/,
  })
  await t.rejects(claimOf(db, createMemoryBlobStore()), {
    code: 'config',
    message: /^the bucket b is not the store of this database: it has no store-id/,
  })
  const fresh = await testDatabase(t)
  await t.rejects(claimOf(fresh, store), { code: 'config', message: /belongs to another database/ })
})

t.test('a hub that died between row and store is followed by one that ends what it began', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  await db.execute(sql`INSERT INTO hub_store (store_id) VALUES ('00000000-0000-4000-8000-000000000001')`)
  await (await claimOf(db, store)).release()
  t.equal(await textOf(store), '00000000-0000-4000-8000-000000000001\n')
})

t.test('a hub with a store of its own has the database for itself', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  const alone = await claimOf(db, store, { shared: false })
  await t.rejects(claimOf(db, store, { shared: false }), { code: 'config', message: /^another hub is using this database \(DATABASE_URL\)/ })
  await t.rejects(claimOf(db, store), { code: 'config', message: /^a hub that keeps its bytes on a disk of its own is using this database/ })
  await alone.release()
  const together = [await claimOf(db, store), await claimOf(db, store)]
  await t.rejects(claimOf(db, store, { shared: false }), { code: 'config' })
  for (const claim of together) await claim.release()
  await (await claimOf(db, store, { shared: false })).release()
})

t.test('a session that ended is followed by another, with the lock', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  const claim = await claimOf(db, store, { shared: false, checkEveryMs: 20 })
  await endSessions(db)
  await delay(300)
  await t.rejects(claimOf(db, store), { code: 'config' }, 'held again')
  await claim.release()
})

t.test('sessions that took the lock and could not say so are this hub’s own, and it takes the place of all of them', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  let lostAnswers = 0
  const closers: (() => Promise<void>)[] = []
  /** Statements arrive; their answers do not, nor the goodbye. */
  const silent: Database = {
    ...db,
    async direct(options) {
      const connection = await db.direct(options)
      closers.push(connection.close)
      return {
        ...connection,
        async query<R extends object>(statement: Sql) {
          const rows = await connection.query<R>(statement)
          if (!statement.text.includes('advisory_lock') || lostAnswers === 0) return rows
          lostAnswers--
          throw new HubError('unavailable', 'no answer')
        },
        close: async () => undefined,
      }
    },
  }
  const lost: HubError[] = []
  const claim = await claimOf(silent, store, { shared: false, checkEveryMs: 20, onLost: (error) => void lost.push(error) })
  lostAnswers = 3
  const deadline = performance.now() + 10_000
  while (lostAnswers > 0 && performance.now() < deadline) await delay(20)
  t.equal(lostAnswers, 0)
  await delay(500)
  t.same(lost, [])
  await t.rejects(claimOf(db, store), { code: 'config' }, 'the place is held')
  const sessions = await db.query(sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
  t.equal(sessions.length, 1)
  await claim.release()
  for (const close of closers) await close()
})

t.test('a hub whose place was taken meanwhile is told to end', async (t) => {
  const db = await testDatabase(t)
  const store = createMemoryBlobStore()
  const lost = new Promise<HubError>((resolve) => {
    void claimOf(db, store, { shared: false, checkEveryMs: 500, onLost: resolve }).then((claim) => t.teardown(() => claim.release()))
  })
  await delay(200)
  await endSessions(db)
  const other = await claimOf(db, store, { shared: false })
  t.match(await lost, { code: 'config', message: /^another hub is using this database/ })
  await other.release()
})
