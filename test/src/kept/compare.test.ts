/** A store and its rows beside each other: what differs is told, and nothing else is. */
import { createHash, randomBytes } from 'node:crypto'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { keepBlobs, linkBlobs } from '../../../src/db/stored-blobs.js'
import { createCollector } from '../../../src/kept/collect.js'
import { compareBlobs, type BlobDifference, type BlobFigures } from '../../../src/kept/compare.js'
import { createKeeper } from '../../../src/kept/keep.js'
import type { BlobKey } from '../../../src/storage/blob-store.js'
import { createFilesystemBlobStore } from '../../../src/storage/filesystem-blob-store.js'
import { packKey, sha256OfKey } from '../../../src/storage/keys.js'
import { oneChunk } from '../../../src/storage/whole-bytes.js'
import { testDatabase } from '../../support/postgres.js'
import { blobOf, content, gatedDeletes, insertBlob, insertRepository, newKey, stateOf } from '../../support/stored-blobs.js'

const db = await testDatabase(t)
const repoId = await insertRepository(db)
const directory = t.testdir()
const store = createFilesystemBlobStore({ directory })
const hour = 3_600_000
const never = new AbortController().signal

async function compare(options: { hash?: boolean; signal?: AbortSignal } = {}) {
  const figures: BlobFigures = { blobs: 0, bytes: 0, hashedBytes: 0 }
  const found: BlobDifference[] = []
  const { hash = false, signal = never } = options
  for await (const one of compareBlobs({ db, store }, { prefix: 'packs/', hash, orphanAgeMs: 48 * hour, figures, signal })) found.push(one)
  return { figures, found: found.toSorted((a, b) => (a.kind < b.kind ? -1 : 1)) }
}

/** A blob in good order, that something needs. */
async function kept(bytes: Buffer = randomBytes(100)): Promise<BlobKey> {
  const key = packKey(createHash('sha256').update(bytes).digest())
  await keepBlobs(db, [{ key, bytes: bytes.length }])
  await store.put(key, oneChunk(bytes))
  await linkBlobs(db, [{ key, repoId, packId: null, kind: 'pack' }])
  return key
}

async function orphan(hours: number): Promise<BlobKey> {
  const key = newKey()
  await store.put(key, oneChunk(Buffer.from('left behind')))
  const then = new Date(Date.now() - hours * hour)
  await utimes(join(directory, key), then, then)
  return key
}

t.beforeEach(async () => {
  await db.execute(sql`DELETE FROM blob_link`)
  await db.execute(sql`DELETE FROM stored_blob`)
  for await (const { key } of store.list('')) await store.delete(key)
})

t.test('what agrees is counted, and no more is said of it', async (t) => {
  for (let i = 0; i < 3; i++) await kept()
  t.same(await compare(), { figures: { blobs: 3, bytes: 300, hashedBytes: 0 }, found: [] })
  t.same(await compare({ hash: true }), { figures: { blobs: 3, bytes: 300, hashedBytes: 300 }, found: [] })
})

t.test('bytes that are missing, too few, or others are named by their key', async (t) => {
  const [missing, short, flipped] = [await kept(), await kept(), await kept()]
  await kept()
  await store.delete(missing)
  await writeFile(join(directory, short), randomBytes(60))
  await writeFile(join(directory, flipped), randomBytes(100))
  const sizes = [
    { kind: 'missing', key: missing, bytes: 100 },
    { kind: 'size', key: short, bytes: 100, stored: 60 },
  ]
  t.same((await compare()).found, sizes)
  t.same((await compare({ hash: true })).found, [{ kind: 'bytes', key: flipped, bytes: 100 }, ...sizes])
})

t.test('rows that nothing needs, and rows on their way out, are nobody’s loss', async (t) => {
  for (const state of ['live', 'doomed', 'deleting'] as const) await insertBlob(db, newKey(), state)
  t.same((await compare({ hash: true })).found, [])
})

t.test('bytes without a row are an orphan once they are two days old', async (t) => {
  const old = await orphan(49)
  await orphan(47)
  const deleting = await orphan(49)
  await insertBlob(db, deleting, 'deleting')
  t.same((await compare({ hash: true })).found, [{ kind: 'orphan', key: old, bytes: 11 }])
})

t.test('more rows than a page has, on either side', async (t) => {
  await db.execute(sql`
    INSERT INTO stored_blob (key, bytes)
    SELECT 'packs/' || substr(h, 1, 2) || '/' || h || '.pack', 5 FROM (SELECT encode(sha256(i::text::bytea), 'hex') AS h FROM generate_series(1, 2500) AS i) AS x`)
  await db.execute(sql`INSERT INTO blob_link (key, repo_id, kind) SELECT key, ${repoId}, 'pack' FROM stored_blob`)
  const key = await kept()
  const { figures, found } = await compare({ hash: true })
  t.same(figures, { blobs: 1, bytes: 100, hashedBytes: 100 })
  t.equal(found.length, 2500)
  t.equal(new Set(found.map(({ key }) => key)).size, 2500)
  t.notOk(found.some((one) => one.key === key))
})

t.test('an orphan goes under a row of its own, which is gone afterwards', async (t) => {
  const collector = createCollector({ db, store, unusedGraceMs: hour, doomedGraceMs: hour, storeTimeoutMs: 60_000 })
  const key = await orphan(49)
  t.equal(await collector.removeOrphan({ key, bytes: 11 }), true)
  t.equal(await store.stat(key), undefined)
  t.equal(await stateOf(db, key), undefined)
})

t.test('who keeps an orphan first has it', async (t) => {
  const collector = createCollector({ db, store, unusedGraceMs: hour, doomedGraceMs: hour, storeTimeoutMs: 60_000 })
  const key = await orphan(49)
  await keepBlobs(db, [{ key, bytes: 11 }])
  t.equal(await collector.removeOrphan({ key, bytes: 11 }), false)
  t.match(await store.stat(key), { bytes: 11 })
  t.equal(await stateOf(db, key), 'live')
})

t.test('who keeps it while it is being deleted waits, and stores it anew', async (t) => {
  const gated = gatedDeletes(store)
  const collector = createCollector({ db, store: gated.store, unusedGraceMs: hour, doomedGraceMs: hour, storeTimeoutMs: 60_000 })
  const key = await orphan(49)
  const gate = gated.nextDelete()
  const removed = collector.removeOrphan({ key, bytes: 11 })
  await gate.reached
  const keeping = createKeeper({ db, store, pollMs: 5 }).keep([blobOf(store, key)])
  gate.open()
  t.equal(await removed, true)
  await keeping
  t.match(await store.stat(key), { bytes: content.length })
  t.equal(await stateOf(db, key), 'live')
})

t.test('who has left hears nothing more', async (t) => {
  await kept()
  const left = new AbortController()
  left.abort(new Error('gone'))
  await t.rejects(compare({ hash: true, signal: left.signal }), { message: 'gone' })
})

t.test('a key says what its bytes hash to', async (t) => {
  const hex = 'ab'.repeat(32)
  for (const key of [`packs/ab/${hex}.pack`, `side/ab/${hex}.tbl`, `lfs/ab/ab/${hex}`]) t.equal(sha256OfKey(key as BlobKey), hex)
  for (const key of ['staging/x', 'store-id']) t.equal(sha256OfKey(key as BlobKey), undefined)
})
