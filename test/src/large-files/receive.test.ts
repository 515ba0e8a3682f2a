import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { createKeeper } from '../../../src/kept/keep.js'
import type { Promote } from '../../../src/storage/blob-store.js'
import { lfsKey } from '../../../src/storage/keys.js'
import {
  ageUploads,
  insertOwner,
  insertRepo,
  newContent,
  oidOf,
  openLargeFiles,
  pieces,
  readAll,
  tracesOf,
  uploadOf,
} from '../../support/large-objects.js'
import { holdTransaction, steppingDatabase, untilWaiting } from '../../support/stored-blobs.js'

const { db, store, largeFiles, withOptions } = await openLargeFiles(t)
const actorId = await insertOwner(db)
const newRepo = () => insertRepo(db, actorId)

const nothing = { objects: 0, representations: 0, links: 0, uploads: 0, reserved: 0, blobs: 0, staged: 0, stored: 0 }
const whole = { objects: 1, representations: 1, links: 1, uploads: 0, reserved: 0, blobs: 1, staged: 0, stored: 1 }
const keyOf = (content: string) => lfsKey(Buffer.from(oidOf(content), 'hex'))

t.test('bytes that are what they were called are there, linked, and can be read whole or in part', async (t) => {
  const [repoId, other] = [await newRepo(), await newRepo()]
  const content = newContent()
  const oid = oidOf(content)
  await t.rejects(largeFiles.open(oid), { code: 'corrupt' })
  await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  t.same(await tracesOf(db, store, oid), whole)
  t.same([...(await largeFiles.find(repoId, [oid, oidOf('x')]))], [[oid, content.length]])
  t.same([...(await largeFiles.find(other, [oid]))], [])
  t.same([...(await largeFiles.find(repoId, []))], [])
  t.equal(await readAll(await largeFiles.open(oid)), content)
  t.equal(await readAll(await largeFiles.open(oid, { range: { from: 6, to: 13 } })), 'content')
})

t.test('bytes in the store that are not whole are replaced when the right ones come', async (t) => {
  const repoId = await newRepo()
  for (const there of ['', 'large con', `${newContent()} and more`]) {
    for (const reserved of [false, true]) {
      const content = newContent()
      const upload = uploadOf(content, { repoId, actorId })
      const { oid } = upload
      await store.put(keyOf(content), pieces(there))
      const ids = await largeFiles.reserve({ repoId, actorId, objects: reserved ? [upload] : [], lifetimeMs: 60_000 })
      await largeFiles.receive({ ...upload, uploadId: ids.get(oid) }, pieces(content))
      t.equal(await readAll(await largeFiles.open(oid)), content, `${there.length} bytes, ${reserved ? 'reserved' : 'not reserved'}`)
      t.same(await tracesOf(db, store, oid), whole)
    }
  }
})

t.test('an object without bytes is an object', async (t) => {
  const repoId = await newRepo()
  await largeFiles.receive(uploadOf('', { repoId, actorId }), pieces(''))
  t.same([...(await largeFiles.find(repoId, [oidOf('')]))], [[oidOf(''), 0]])
  t.equal(await readAll(await largeFiles.open(oidOf(''))), '')
})

t.test('wrong bytes, bytes that are missing and bytes too many leave nothing', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const upload = uploadOf(content, { repoId, actorId })
  const cases: readonly [sent: string, message: RegExp][] = [
    [content.replace('large', 'LARGE'), /have the SHA-256 [0-9a-f]{64}, not/],
    [content.slice(0, -1), /only 49 of 50 bytes/],
    ['', /only 0 of 50 bytes/],
    [`${content}!`, /more than 50 bytes/],
    [`${content}${content}`, /more than 50 bytes/],
  ]
  for (const [sent, message] of cases) {
    await t.rejects(largeFiles.receive(upload, pieces(sent)), { code: 'invalid', message })
    t.same(await tracesOf(db, store, upload.oid), nothing)
    t.same([...(await largeFiles.find(repoId, [oidOf(sent)]))], [], 'nor under the name that they would have')
  }
})

t.test('more bytes than were said are not even asked for', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  let asked = 0
  await t.rejects(
    largeFiles.receive(
      uploadOf(content.slice(0, 10), { repoId, actorId }),
      pieces(content, (sent) => (asked = sent)),
    ),
    { code: 'invalid' },
  )
  t.equal(asked, 9, 'ten were expected, and twelve are the first too many')
})

t.test('bytes are asked for no faster than the store takes them', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  let sent = 0
  let most = 0
  const slow: Promote = {
    ...store,
    stage: (key, bytes, options) =>
      store.stage(
        key,
        (async function* () {
          let taken = 0
          for await (const chunk of bytes) {
            most = Math.max(most, sent - taken)
            taken += chunk.length
            await new Promise((resolve) => setTimeout(resolve, 2))
            yield chunk
          }
        })(),
        options,
      ),
  }
  await withOptions({ staging: slow }).receive(
    uploadOf(content, { repoId, actorId }),
    pieces(content, (before) => (sent = before + 3)),
  )
  t.equal(most, 3, 'one piece')
})

t.test('the row is there before any byte is asked for, and nothing can be read until the end', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const oid = oidOf(content)
  let looked = 0
  await largeFiles.receive(
    uploadOf(content, { repoId, actorId }),
    pieces(content, async (sent) => {
      if (sent % 24 !== 0) return
      looked += 1
      t.same(await tracesOf(db, store, oid), { ...nothing, uploads: 1, reserved: 50 })
      t.same([...(await largeFiles.find(repoId, [oid]))], [])
      t.same([...(await largeFiles.claim({ repoId, objects: [{ oid, size: 50 }], mayRead: () => true }))], [])
      await t.rejects(largeFiles.open(oid), { code: 'corrupt' })
    }),
  )
  t.equal(looked, 3)
  t.same(await tracesOf(db, store, oid), whole)
})

t.test('whoever leaves at any point leaves nothing that can be read, and the retry works', async (t) => {
  const repoId = await newRepo()
  const gone = new Error('the client left')
  const points = [0, 3, 24, 45, 48, 'keep', 'link'] as const
  for (const point of points) {
    const content = newContent()
    const oid = oidOf(content)
    const client = new AbortController()
    const keeper = createKeeper({ db, store })
    const own = withOptions({
      keeper: {
        async keep(blobs) {
          await keeper.keep(blobs)
          if (point === 'link') client.abort(gone)
        },
      },
    })
    const sending = pieces(content, (sent) => {
      if (sent === point || (point === 'keep' && sent === 48)) client.abort(gone)
    })
    const bytes = point === 'keep' ? pieces(content) : sending
    const keepPoint = point === 'keep' ? { staging: { ...store, stage: abortAfterStage(client, gone) } } : undefined
    const service = keepPoint ? withOptions(keepPoint) : own
    await t.rejects(service.receive(uploadOf(content, { repoId, actorId, signal: client.signal }), bytes), gone, String(point))
    t.match(await tracesOf(db, store, oid), { objects: 0, representations: 0, links: 0, uploads: 0, staged: 0 }, String(point))
    t.same([...(await largeFiles.find(repoId, [oid]))], [])
    await t.rejects(largeFiles.open(oid), { code: 'corrupt' })
    await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
    t.same(await tracesOf(db, store, oid), whole, String(point))
    t.equal(await readAll(await largeFiles.open(oid)), content)
  }
})

const abortAfterStage =
  (client: AbortController, reason: Error): Promote['stage'] =>
  async (...args) => {
    const info = await store.stage(...args)
    client.abort(reason)
    return info
  }

t.test('whoever has left already is not begun with', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const gone = new Error('left')
  const receiving = largeFiles.receive(uploadOf(content, { repoId, actorId, signal: AbortSignal.abort(gone) }), pieces(content))
  await t.rejects(receiving, gone)
  t.same(await tracesOf(db, store, oidOf(content)), nothing)
})

t.test('a client whose connection breaks is heard of', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const broken = new Error('aborted')
  const bytes = pieces(content, (sent) => {
    if (sent === 24) throw broken
  })
  await t.rejects(largeFiles.receive(uploadOf(content, { repoId, actorId }), bytes), broken)
  t.same(await tracesOf(db, store, oidOf(content)), nothing)
})

t.test('the hub dies with bytes staged, kept or promoted: nothing is readable, what is left is found, and a retry works', async (t) => {
  const repoId = await newRepo()
  for (const point of ['staged', 'kept'] as const) {
    const content = newContent()
    const oid = oidOf(content)
    const died = new Error('died')
    const keeper = createKeeper({ db, store })
    // As after a death: nothing is undone.
    const dying = withOptions({
      store: { ...store, delete: () => Promise.reject(died) },
      keeper: {
        async keep(blobs) {
          if (point === 'kept') await keeper.keep(blobs)
          throw died
        },
      },
    })
    await t.rejects(dying.receive(uploadOf(content, { repoId, actorId }), pieces(content)), died)
    const left = { ...nothing, uploads: 1, reserved: 50 }
    t.same(await tracesOf(db, store, oid), point === 'staged' ? { ...left, staged: 1 } : { ...left, blobs: 1, stored: 1 })
    t.same([...(await largeFiles.find(repoId, [oid]))], [])
    await t.rejects(largeFiles.open(oid), { code: 'corrupt' })

    t.match(await largeFiles.releaseExpired(), { uploads: 0, failed: [] }, 'it may be alive')
    await ageUploads(db, oid)
    t.match(await largeFiles.releaseExpired(), { uploads: 1, reservedBytes: 50, failed: [] })
    t.match(await tracesOf(db, store, oid), { uploads: 0, staged: 0 })

    await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
    t.same(await tracesOf(db, store, oid), whole)
  }
})

t.test('one object in two repositories is one blob, sent one after the other or both at once, and each has to send it', async (t) => {
  for (const together of [false, true]) {
    const repoIds = [await newRepo(), await newRepo()]
    const content = newContent()
    const oid = oidOf(content)
    const send = (repoId: number) => largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
    if (together) await Promise.all(repoIds.map(send))
    else for (const repoId of repoIds) await send(repoId)
    t.same(await tracesOf(db, store, oid), { ...whole, links: 2 })
    for (const repoId of repoIds) t.same([...(await largeFiles.find(repoId, [oid]))], [[oid, 50]])
    t.equal(await readAll(await largeFiles.open(oid)), content)
  }
})

t.test('eight uploads of one object at once, to one repository and to others, all end well', async (t) => {
  const repoIds = [await newRepo(), await newRepo()]
  const content = newContent()
  await Promise.all(Array.from({ length: 8 }, (_, i) => largeFiles.receive(uploadOf(content, { repoId: repoIds[i % 2]!, actorId }), pieces(content))))
  t.same(await tracesOf(db, store, oidOf(content)), { ...whole, links: 2 })
})

t.test('sent again it ends the same; sent wrong again it is refused and stays', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const upload = uploadOf(content, { repoId, actorId })
  await largeFiles.receive(upload, pieces(content))
  await largeFiles.receive(upload, pieces(content))
  await t.rejects(largeFiles.receive(upload, pieces(content.toUpperCase())), { code: 'invalid' })
  t.same(await tracesOf(db, store, upload.oid), whole)
  t.equal(await readAll(await largeFiles.open(upload.oid)), content)
})

t.test('bytes that were lost come back with the next upload', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  await store.delete(keyOf(content))
  await t.rejects(largeFiles.open(oidOf(content)), { code: 'corrupt' })
  await largeFiles.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  t.equal(await readAll(await largeFiles.open(oidOf(content))), content)
})

t.test('a repository that is deleted meanwhile gets no link, and nothing is left under way', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const bytes = pieces(content, (sent) => sent === 24 && db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repoId}`))
  await t.rejects(largeFiles.receive(uploadOf(content, { repoId, actorId }), bytes), { code: 'repo-not-found' })
  t.match(await tracesOf(db, store, oidOf(content)), { objects: 0, links: 0, uploads: 0, staged: 0 })
})

t.test('deleting the repository comes first: the link waits for it, and is not made', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const deleting = await holdTransaction(db)
  const bytes = pieces(content, (sent) => sent === 24 && deleting.tx.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repoId}`))
  const rejected = t.rejects(largeFiles.receive(uploadOf(content, { repoId, actorId }), bytes), { code: 'repo-not-found' })
  await untilWaiting(db)
  await deleting.commit()
  await rejected
  t.match(await tracesOf(db, store, oidOf(content)), { objects: 0, links: 0, uploads: 0 })
})

t.test('the link comes first: deleting the repository waits for it', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const stepping = steppingDatabase(db)
  const commit = stepping.pauseBefore('COMMIT')
  // The first transaction is the one that makes room.
  const own = withOptions({ db: stepping.db })
  const receiving = own.receive(uploadOf(content, { repoId, actorId }), pieces(content))
  await commit.reached
  const linking = stepping.pauseBefore('COMMIT')
  commit.open()
  await linking.reached
  const deleting = db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repoId}`)
  await untilWaiting(db)
  linking.open()
  await receiving
  await deleting
  t.match(await tracesOf(db, store, oidOf(content)), { objects: 1, links: 1, uploads: 0 })
})

t.test('a full disk is said, and leaves nothing', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const full = Object.assign(new Error('full'), { code: 'storage-full' })
  const own = withOptions({
    staging: {
      ...store,
      async stage(_key, bytes) {
        for await (const _ of bytes) throw full
        throw new Error('no bytes came')
      },
    },
  })
  await t.rejects(own.receive(uploadOf(content, { repoId, actorId }), pieces(content)), full)
  t.same(await tracesOf(db, store, oidOf(content)), nothing)
})

t.test('a hash that fails fails the upload', async (t) => {
  const repoId = await newRepo()
  const content = newContent()
  const own = withOptions({ newHash: () => ({ update: () => Promise.reject(new Error('no hash')), digest: () => '' }) })
  await t.rejects(own.receive(uploadOf(content, { repoId, actorId }), pieces(content)), { message: 'no hash' })
  t.same(await tracesOf(db, store, oidOf(content)), nothing)
})
