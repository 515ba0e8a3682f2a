import { randomUUID } from 'node:crypto'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import type { LargeFilesOptions } from '../../../src/large-files/create-large-files.js'
import { stagingKey } from '../../../src/storage/keys.js'
import { ageUploads, insertOwner, insertRepo, newContent, oidOf, openLargeFiles, pieces, tracesOf, uploadOf } from '../../support/large-objects.js'

const { db, store, largeFiles, withOptions } = await openLargeFiles(t)
const actorId = await insertOwner(db)
const newRepo = () => insertRepo(db, actorId)
const minute = 60_000

const reserveAll = (repoId: number, contents: readonly string[], own = largeFiles, by = actorId) =>
  own.reserve({ repoId, actorId: by, objects: contents.map((content) => ({ oid: oidOf(content), size: content.length })), lifetimeMs: 60 * minute })
const reserve = async (repoId: number, content: string, own = largeFiles, by = actorId): Promise<string> =>
  (await reserveAll(repoId, [content], own, by)).get(oidOf(content))!

/** A hub that may reserve so much more than it has. */
async function roomFor(bytes: number, options: Partial<LargeFilesOptions> = {}) {
  const [row] = await db.query<{ n: number }>(sql`SELECT COALESCE(sum(reserved_bytes), 0)::bigint AS n FROM lfs_upload WHERE expires_at > now()`)
  return withOptions({ reservableBytes: async () => row!.n + bytes, ...options })
}

t.test('each object has an id of its own, whoever asks; asked again, the same', async (t) => {
  const [repoId, other] = [await newRepo(), await newRepo()]
  const contents = [newContent(), newContent(), newContent()]
  const ids = await reserveAll(repoId, contents)
  t.same([...ids.keys()].toSorted(), contents.map(oidOf).toSorted())
  t.equal(new Set(ids.values()).size, 3)
  t.same(new Map(await reserveAll(repoId, [contents[1]!, contents[1]!])), new Map([[oidOf(contents[1]!), ids.get(oidOf(contents[1]!))!]]))
  t.not(await reserve(other, contents[0]!), ids.get(oidOf(contents[0]!)))
  t.not(await reserve(repoId, contents[0]!, largeFiles, await insertOwner(db)), ids.get(oidOf(contents[0]!)))
  t.match(await tracesOf(db, store, oidOf(contents[1]!)), { uploads: 1, reserved: 50, objects: 0, blobs: 0 })
  t.same(await reserveAll(repoId, []), new Map())
})

t.test('no more is reserved than may be, and all of a request or none of it', async (t) => {
  const repoId = await newRepo()
  const own = await roomFor(120)
  const [first, second, third] = [newContent(), newContent(), newContent()] as [string, string, string]
  await t.rejects(reserveAll(repoId, [first, second, third], own), { code: 'storage-full' })
  t.match(await tracesOf(db, store, oidOf(first)), { uploads: 0, reserved: 0 })
  await reserveAll(repoId, [first, second], own)
  await t.rejects(reserve(repoId, third, own), { code: 'storage-full' })
  t.equal((await reserveAll(repoId, [first, second], own)).size, 2, 'what is reserved already takes no more')
})

t.test('two who ask at once are not given the same room', async (t) => {
  const repoId = await newRepo()
  const own = await roomFor(120)
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => reserve(repoId, newContent(), own)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 2)
})

t.test('sizes that no disk has are refused, however many', async (t) => {
  const repoId = await newRepo()
  const objects = Array.from({ length: 1000 }, () => ({ oid: oidOf(newContent()), size: Number.MAX_SAFE_INTEGER }))
  await t.rejects(largeFiles.reserve({ repoId, actorId, objects, lifetimeMs: minute }), { code: 'storage-full' })
  const unlimited = withOptions({ reservableBytes: async () => Infinity })
  for (let i = 0; i < 3; i++) {
    const more = Array.from({ length: 1000 }, () => ({ oid: oidOf(newContent()), size: Number.MAX_SAFE_INTEGER }))
    t.equal((await unlimited.reserve({ repoId, actorId, objects: more, lifetimeMs: minute })).size, 1000)
  }
  await db.execute(sql`DELETE FROM lfs_upload`)
})

t.test('bytes that come use the room that was reserved, and give it back', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const oid = oidOf(content)
  const own = await roomFor(60)
  const uploadId = await reserve(repoId, content, own)
  await t.rejects(own.receive(uploadOf(newContent(), { repoId, actorId }), pieces('')), { code: 'storage-full' }, 'others find it taken')
  await own.receive(
    uploadOf(content, { repoId, actorId, uploadId }),
    pieces(content, async (sent) => sent === 24 && t.match(await tracesOf(db, store, oid), { uploads: 2, reserved: 50 })),
  )
  t.match(await tracesOf(db, store, oid), { uploads: 0, reserved: 0, links: 1 })
  await reserve(repoId, newContent(), own)
})

t.test('bytes that come without a reservation need room, and are refused before one is asked for', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const own = await roomFor(49)
  let asked = false
  const bytes = pieces(content, () => (asked = true))
  await t.rejects(own.receive(uploadOf(content, { repoId, actorId }), bytes), { code: 'storage-full' })
  t.equal(asked, false)
  t.match(await tracesOf(db, store, oidOf(content)), { uploads: 0, staged: 0 })
})

t.test('an upload that fails leaves its reservation for the retry', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const oid = oidOf(content)
  const own = await roomFor(60)
  const uploadId = await reserve(repoId, content, own)
  const upload = uploadOf(content, { repoId, actorId, uploadId })
  for (let i = 0; i < 3; i++) {
    await t.rejects(own.receive(upload, pieces(content.toUpperCase())), { code: 'invalid' })
    t.match(await tracesOf(db, store, oid), { uploads: 1, reserved: 50, staged: 0 })
  }
  await own.receive(upload, pieces(content))
  t.match(await tracesOf(db, store, oid), { uploads: 0, links: 1 })
  await own.receive(upload, pieces(content))
  t.match(await tracesOf(db, store, oid), { uploads: 0, links: 1 }, 'sent again after the answer was lost')
})

t.test('a reservation has room for its bytes once: who sends them twice at once needs more', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const own = await roomFor(60)
  const uploadId = await reserve(repoId, content, own)
  const upload = uploadOf(content, { repoId, actorId, uploadId })
  let second: Promise<void> | undefined
  await own.receive(
    upload,
    pieces(content, async (sent) => {
      if (sent !== 24) return
      second = own.receive(upload, pieces(content))
      await t.rejects(second, { code: 'storage-full' })
    }),
  )
  const roomy = await roomFor(1000)
  const again = await reserve(repoId, newContent(), roomy)
  await Promise.all([1, 2, 3].map(() => roomy.receive({ ...upload, uploadId: again }, pieces(content))))
  t.match(await tracesOf(db, store, upload.oid), { uploads: 0, links: 1 })
})

t.test('a reservation for something else is neither used nor removed', async (t) => {
  const [repoId, other] = [await newRepo(), await newRepo()]
  const [content, foreign] = [newContent(), newContent()]
  for (const uploadId of [await reserve(repoId, foreign), await reserve(other, content), randomUUID()]) {
    await largeFiles.receive(uploadOf(content, { repoId, actorId, uploadId }), pieces(content))
  }
  t.match(await tracesOf(db, store, oidOf(foreign)), { uploads: 1, reserved: 50 })
  t.match(await tracesOf(db, store, oidOf(content)), { uploads: 1, reserved: 50 }, 'that of the other repository')
})

t.test('what has expired counts no more, and is removed with its bytes', async (t) => {
  await db.execute(sql`DELETE FROM lfs_upload`)
  const repoId = await newRepo()
  const content = newContent()
  const own = withOptions({ reservableBytes: async () => 60 })
  const id = await reserve(repoId, content, own)
  t.match(await own.releaseExpired(), { uploads: 0, reservedBytes: 0 })
  await ageUploads(db, oidOf(content))
  const other = newContent()
  await reserve(repoId, other, own)
  t.match(await own.releaseExpired(), { uploads: 1, reservedBytes: 50, failed: [] })
  t.match(await tracesOf(db, store, oidOf(content)), { uploads: 0 })
  t.match(await tracesOf(db, store, oidOf(other)), { uploads: 1, reserved: 50 })
  await ageUploads(db, oidOf(other))
  await own.receive(uploadOf(content, { repoId, actorId, uploadId: id }), pieces(content))
})

t.test('one that has expired and is asked for again is not removed', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const id = await reserve(repoId, content)
  await ageUploads(db, oidOf(content))
  t.equal(await reserve(repoId, content), id)
  t.match(await largeFiles.releaseExpired(), { failed: [] })
  t.match(await tracesOf(db, store, oidOf(content)), { uploads: 1, reserved: 50 })
})

t.test('what is being received right now is never taken for dead by its own hub', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const own = withOptions({})
  await own.receive(
    uploadOf(content, { repoId, actorId }),
    pieces(content, async (sent) => {
      if (sent !== 24) return
      await ageUploads(db, oidOf(content))
      t.match(await own.releaseExpired(), { failed: [] })
      t.match(await tracesOf(db, store, oidOf(content)), { uploads: 1 })
    }),
  )
  t.match(await tracesOf(db, store, oidOf(content)), { links: 1, uploads: 0 })
})

t.test('what is being received is said to be alive again and again', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const own = withOptions({ leaseMs: 60 })
  await own.receive(
    uploadOf(content, { repoId, actorId }),
    pieces(content, async (sent) => {
      if (sent !== 24) return
      await db.execute(sql`UPDATE lfs_upload SET expires_at = now() - interval '1 hour' WHERE sha256 = decode(${oidOf(content)}, 'hex')`)
      const expired = async () =>
        (await db.query(sql`SELECT FROM lfs_upload WHERE expires_at < now() - interval '1 minute' AND key IS NOT NULL`)).length
      while ((await expired()) > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }),
  )
  t.match(await tracesOf(db, store, oidOf(content)), { links: 1 })
})

t.test('an upload that another hub took for dead fails, and can be sent again', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const oid = oidOf(content)
  const kill = async (sent: number) => {
    if (sent !== 24) return
    await ageUploads(db, oid)
    t.match(await largeFiles.releaseExpired(), { uploads: 1 })
  }
  // It hears of it while the client is silent.
  const silent = pieces(content, async (sent) => {
    await kill(sent)
    if (sent === 24) await new Promise((resolve) => setTimeout(resolve, 10_000).unref())
  })
  const own = withOptions({ leaseMs: 60 })
  await t.rejects(own.receive(uploadOf(content, { repoId, actorId }), silent), { code: 'busy' })
  t.match(await tracesOf(db, store, oid), { objects: 0, links: 0, uploads: 0, staged: 0 })

  // Or only when its bytes have gone.
  const late = withOptions({
    staging: {
      ...store,
      async stage(key, bytes, options) {
        const size = await store.stage(key, bytes, options)
        await kill(24)
        return size
      },
    },
  })
  await t.rejects(late.receive(uploadOf(content, { repoId, actorId }), pieces(content)), { code: 'busy' })
  t.match(await tracesOf(db, store, oid), { objects: 0, links: 0, uploads: 0, staged: 0 })
  await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  t.match(await tracesOf(db, store, oid), { objects: 1, links: 1 })
})

t.test('what cannot be deleted stays on the list and keeps nobody from the others', async (t) => {
  await db.execute(sql`DELETE FROM lfs_upload`)
  const repoId = await newRepo()
  const [first, second] = [newContent(), newContent()]
  const died = new Error('no')
  const stuck = withOptions({ store: { ...store, delete: () => Promise.reject(died) } })
  await t.rejects(stuck.receive(uploadOf(first, { repoId, actorId }), pieces('')), { code: 'invalid' })
  await reserve(repoId, second)
  for (const content of [first, second]) await ageUploads(db, oidOf(content))
  const released = await stuck.releaseExpired()
  t.match(released, { uploads: 1, reservedBytes: 50, failed: [{ error: died }] })
  t.equal(released.failed.length, 1)
  t.match(await largeFiles.releaseExpired(), { uploads: 1, failed: [] })
})

t.test('staged bytes that no row names are removed when they are old', async (t) => {
  const stray = stagingKey(randomUUID())
  await store.put(stray, pieces('bytes of nobody'))
  t.match(await largeFiles.releaseExpired(), { strays: 0 })
  const eager = withOptions({ strayAfterMs: -60_000 })
  const repoId = await newRepo()
  const content = newContent()
  const died = new Error('died')
  const dying = withOptions({ store: { ...store, delete: () => Promise.reject(died) }, keeper: { keep: () => Promise.reject(died) } })
  await t.rejects(dying.receive(uploadOf(content, { repoId, actorId }), pieces(content)), died)
  t.match(await eager.releaseExpired(), { strays: 1 })
  t.equal(await store.stat(stray), undefined)
  t.match(await tracesOf(db, store, oidOf(content)), { staged: 1, uploads: 1 })
})
