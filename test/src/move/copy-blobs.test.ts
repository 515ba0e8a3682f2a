import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { expectBlobs, listStrayBlobs, listVerifiedBlobs, setBlobsVerified } from '../../../src/db/hub-move.js'
import type { Database } from '../../../src/db/pool.js'
import { sql } from '../../../src/db/sql.js'
import { HubError } from '../../../src/errors.js'
import { copyBlobs } from '../../../src/move/copy-blobs.js'
import type { Progress } from '../../../src/move/progress.js'
import type { BlobKey } from '../../../src/storage/blob-store.js'
import { lfsKey, packKey, sidecarKey } from '../../../src/storage/keys.js'
import { createMemoryBlobStore, type MemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { oneChunk, readWhole } from '../../../src/storage/whole-bytes.js'
import { testDatabase } from '../../support/postgres.js'

interface Places {
  readonly source: { readonly db: Database; readonly store: MemoryBlobStore }
  readonly target: { readonly db: Database; readonly store: MemoryBlobStore }
}

const quiet: Progress = { done: () => undefined, went: () => undefined, end: () => undefined }
const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

async function places(t: Test): Promise<Places> {
  const place = async () => ({ db: await testDatabase(t), store: createMemoryBlobStore() })
  return { source: await place(), target: await place() }
}

const put = (store: MemoryBlobStore, key: BlobKey, text: string) => store.put(key, oneChunk(Buffer.from(text)))
const textOf = async (store: MemoryBlobStore, key: BlobKey): Promise<string> => (await readWhole(await store.open(key))).toString()

/** A row, its bytes, and for a large object the rows that need it. */
async function add(
  { source: { db, store } }: Places,
  key: BlobKey,
  { bytes, stored }: { readonly bytes: number; readonly stored?: string },
): Promise<void> {
  await db.execute(sql`INSERT INTO stored_blob (key, bytes) VALUES (${key}, ${bytes})`)
  if (stored !== undefined) await put(store, key, stored)
}

async function need({ source: { db } }: Places, key: BlobKey): Promise<void> {
  const hash = Buffer.from(key.slice(-64), 'hex')
  await db.execute(sql`INSERT INTO large_object (sha256, size) VALUES (${hash}, 1)`)
  await db.execute(sql`INSERT INTO representation (sha256, kind, key) VALUES (${hash}, 'flat', ${key})`)
}

const copy = (two: Places, lookInStore = false) => copyBlobs({ ...two, progress: quiet, lookInStore, signal: new AbortController().signal })

t.test('blobs of every kind come over once, and are not asked for again', async (t) => {
  const two = await places(t)
  const keys = [lfsKey(sha256('large')), packKey(sha256('a pack')), sidecarKey(sha256('index'), 'idx'), lfsKey(sha256(''))]
  for (const [i, text] of ['large', 'a pack', 'index', ''].entries()) await add(two, keys[i]!, { bytes: text.length, stored: text })
  t.same(await copy(two), { blobs: 4, bytes: 16, bad: [] })
  for (const [i, text] of ['large', 'a pack', 'index', ''].entries()) t.equal(await textOf(two.target.store, keys[i]!), text)
  for (const key of keys) await two.source.store.delete(key)
  t.same(await copy(two), { blobs: 0, bytes: 0, bad: [] })
  t.same(await copy(two, true), { blobs: 0, bytes: 0, bad: [] })
})

t.test('what was under way when the last run was killed is copied again, and so is what somebody took away', async (t) => {
  const two = await places(t)
  const [half, gone] = [lfsKey(sha256('half')), lfsKey(sha256('gone'))]
  await add(two, half, { bytes: 4, stored: 'half' })
  await add(two, gone, { bytes: 4, stored: 'gone' })
  await expectBlobs(two.target.db, [
    { key: half, bytes: 4 },
    { key: gone, bytes: 4 },
  ])
  await put(two.target.store, half, 'junk')
  await setBlobsVerified(two.target.db, [gone])
  t.same(await copy(two), { blobs: 1, bytes: 4, bad: [] }, 'the record alone')
  t.equal(await textOf(two.target.store, half), 'half')
  t.same(await copy(two, true), { blobs: 1, bytes: 4, bad: [] }, 'the store as well')
  t.equal(await textOf(two.target.store, gone), 'gone')
  t.same(
    (await listVerifiedBlobs(two.target.db, [half, gone])).map(({ bytes }) => bytes),
    [4, 4],
  )
})

t.test('bytes that are needed and are lost or others are named, and nothing gets their name', async (t) => {
  const two = await places(t)
  const [lost, other, short, fine] = [lfsKey(sha256('lost')), lfsKey(sha256('other')), lfsKey(sha256('short')), lfsKey(sha256('fine'))]
  await add(two, lost, { bytes: 4 })
  await add(two, other, { bytes: 5, stored: 'OTHER' })
  await add(two, short, { bytes: 5, stored: 'shor' })
  await add(two, fine, { bytes: 4, stored: 'fine' })
  t.same(await copy(two), { blobs: 1, bytes: 4, bad: [] }, 'nothing needs them')
  for (const key of [lost, other, short, fine]) await need(two, key)
  const { blobs, bad } = await copy(two)
  t.equal(blobs, 0)
  t.same(Object.fromEntries(bad.map(({ key, why }) => [key, why])), {
    [lost]: `${lost} is not in the store`,
    [other]: `the bytes have the SHA-256 ${sha256('OTHER').toString('hex')}, not ${sha256('other').toString('hex')}`,
    [short]: `only 4 of 5 bytes came for ${sha256('short').toString('hex')}`,
  })
  const there: string[] = []
  for await (const { key } of two.target.store.list('')) there.push(key)
  t.same(there, [fine])
})

t.test('an answer to clones that is lost or other keeps nothing from being moved: it is made again', async (t) => {
  const two = await places(t)
  const { db } = two.source
  const [lost, other] = [packKey(sha256('lost')), packKey(sha256('other'))]
  await add(two, lost, { bytes: 4 })
  await add(two, other, { bytes: 5, stored: 'OTHER' })
  await db.execute(sql`INSERT INTO namespaces (kind, name) VALUES ('user', 'someone')`)
  await db.execute(sql`INSERT INTO repositories (namespace_id, type, name, visibility) SELECT id, 'model', 'm', 'public' FROM namespaces`)
  for (const key of [lost, other])
    await db.execute(sql`
      INSERT INTO shared_answer (repo_id, purge_epoch, request, key, bytes) SELECT id, 1, ${sha256(key)}, ${key}, 5 FROM repositories`)
  t.same(await copy(two), { blobs: 0, bytes: 0, bad: [] })
  await db.execute(sql`INSERT INTO blob_link (key, repo_id, kind) SELECT ${lost}, id, 'pack' FROM repositories`)
  t.same((await copy(two)).bad, [{ key: lost, why: `${lost} is not in the store` }])
})

t.test('what is being deleted stays behind; what came and was deleted since is found', async (t) => {
  const two = await places(t)
  const [stays, goes] = [lfsKey(sha256('stays')), lfsKey(sha256('goes'))]
  await add(two, stays, { bytes: 5, stored: 'stays' })
  await add(two, goes, { bytes: 4, stored: 'goes' })
  await two.source.db.execute(sql`UPDATE stored_blob SET state = 'deleting' WHERE key = ${stays}`)
  t.match(await copy(two), { blobs: 1, bytes: 4 })
  t.same(await listStrayBlobs(two.target.db, 10), [goes], 'no row came yet')
})

t.test('a target that fails ends the run, and what was done before counts', async (t) => {
  const two = await places(t)
  for (let i = 0; i < 120; i++) await add(two, lfsKey(sha256(`n ${i}`)), { bytes: `n ${i}`.length, stored: `n ${i}` })
  const { store } = two.target
  let left = 60
  const failing = {
    ...store,
    put: (...args: Parameters<typeof store.put>) => (left-- > 0 ? store.put(...args) : Promise.reject(new Error('the target is away'))),
  }
  await t.rejects(copy({ ...two, target: { ...two.target, store: failing } }), { message: 'the target is away' })
  const { blobs, bad } = await copy(two)
  t.same(bad, [])
  t.ok(blobs >= 60 && blobs <= 70, `${blobs} were left`)
})

t.test('what the disk of the source cannot read is named; a source out of reach ends the run', async (t) => {
  const two = await places(t)
  const key = lfsKey(sha256('here'))
  await add(two, key, { bytes: 4, stored: 'here' })
  await need(two, key)
  const failing = (fault: Error) => ({ ...two, source: { ...two.source, store: { ...two.source.store, open: () => Promise.reject(fault) } } })
  t.same(await copy(failing(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' }))), {
    blobs: 0,
    bytes: 0,
    bad: [{ key, why: 'the disk cannot read it (EIO)' }],
  })
  await t.rejects(copy(failing(new HubError('unavailable', 'the store cannot be reached'))), {
    code: 'unavailable',
    message: 'the store cannot be reached',
  })
  t.match(await copy(two), { blobs: 1, bad: [] })
})
