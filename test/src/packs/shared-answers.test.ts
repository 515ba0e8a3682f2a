import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { openDatabase } from '../../../src/db/pool.js'
import { stepRepository } from '../../../src/db/repositories.js'
import { sql } from '../../../src/db/sql.js'
import { createCollector } from '../../../src/kept/collect.js'
import { createKeeper } from '../../../src/kept/keep.js'
import type { WholeAnswer } from '../../../src/packs/kept-answer.js'
import { SharedAnswers, type SharedAnswersOptions } from '../../../src/packs/shared-answers.js'
import type { BlobStore } from '../../../src/storage/blob-store.js'
import { packKey } from '../../../src/storage/keys.js'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { oneChunk } from '../../../src/storage/whole-bytes.js'
import { becomes } from '../../support/becomes.js'
import { testDatabase } from '../../support/postgres.js'
import { collect } from '../../support/wire.js'

const db = await testDatabase(t)
await db.execute(sql`INSERT INTO namespaces (kind, name) VALUES ('user', 'someone')`)
let repos = 0

async function makeRepo(): Promise<number> {
  const [row] = await db.query<{ id: number }>(sql`
    INSERT INTO repositories (namespace_id, type, name, visibility) SELECT id, 'model', ${`repo-${++repos}`}, 'public' FROM namespaces RETURNING id`)
  return row!.id
}

/** Bytes that end as a pack does. */
function packOf(bytes: number): Buffer {
  const body = randomBytes(bytes - 20)
  return Buffer.concat([body, createHash('sha1').update(body).digest()])
}

/** Read in chunks that are overwritten, as those of a file are. */
function whole(content: Buffer): WholeAnswer {
  return {
    bytes: content.length,
    async *read() {
      const buffer = Buffer.alloc(700)
      for (let at = 0; at < content.length; at += buffer.length) yield buffer.subarray(0, content.copy(buffer, 0, at, at + buffer.length))
    },
  }
}

const keyOf = (content: Buffer) => packKey(createHash('sha256').update(content).digest())
const nameOf = (repoId: number, request: string, purgeEpoch = 1) => ({ repoId, purgeEpoch, request: createHash('sha256').update(request).digest() })

function open(options: Partial<SharedAnswersOptions> = {}, store: BlobStore = createMemoryBlobStore()) {
  const events: string[] = []
  const failed: unknown[] = []
  const blobs = createCollector({ db, store, unusedGraceMs: 0, doomedGraceMs: 0, storeTimeoutMs: 1_000 })
  const shared = new SharedAnswers({
    db,
    store,
    keeper: createKeeper({ db, store }),
    blobs,
    maxBytes: 100_000,
    minAnswerBytes: 1_000,
    onEvent: (event) => events.push(event),
    onFailed: (_repoId, error) => failed.push(error),
    ...options,
  })
  return { shared, store, events, failed }
}

/** A store whose bytes come in small chunks, and how often it was opened. */
function chopped(inner: BlobStore): { readonly store: BlobStore; readonly opens: () => number } {
  let opens = 0
  const open: BlobStore['open'] = async (key, options) => {
    opens++
    return whole(await collect(await inner.open(key, options))).read()
  }
  return { store: { ...inner, open }, opens: () => opens }
}

const rowsOf = async (repoId: number) =>
  (await db.query<{ key: string }>(sql`SELECT key FROM shared_answer WHERE repo_id = ${repoId} ORDER BY key`)).map(({ key }) => key)
const has = async (store: BlobStore, content: Buffer) => (await store.stat(keyOf(content))) !== undefined

t.test('what one hub keeps another finds, under the same name alone', async (t) => {
  const repoId = await makeRepo()
  const { shared, store, events } = open()
  const other = open({}, store)
  const content = packOf(5_000)
  const name = nameOf(repoId, 'all')
  t.equal(await other.shared.find(name, undefined), undefined)
  await shared.keep(name, whole(content))
  t.ok((await collect((await other.shared.find(name, undefined))!)).equals(content))
  for (const another of [nameOf(repoId, 'other'), nameOf(repoId, 'all', 2), nameOf(await makeRepo(), 'all')])
    t.equal(await other.shared.find(another, undefined), undefined)
  t.same([events, other.events], [['kept'], ['found']])
  t.same(await rowsOf(repoId), [keyOf(content)])
  await shared.keep(name, whole(packOf(6_000)))
  t.same(await rowsOf(repoId), [keyOf(content)], 'the first stays')
})

t.test('small ones, large ones, and those of a hub that has no room for any are not kept', async (t) => {
  const repoId = await makeRepo()
  const { shared, events } = open()
  await shared.keep(nameOf(repoId, 'small'), whole(packOf(999)))
  await shared.keep(nameOf(repoId, 'large'), whole(packOf(12_501)))
  const off = open({ maxBytes: 0 })
  await off.shared.keep(nameOf(repoId, 'off'), whole(packOf(5_000)))
  t.same([events, off.events, await rowsOf(repoId)], [[], [], []])
})

t.test('what does not end as a pack does is not kept', async (t) => {
  const repoId = await makeRepo()
  const { shared, store, events, failed } = open()
  const [cut, flipped] = [packOf(5_000).subarray(0, 4_999), packOf(5_000)]
  flipped[100]! ^= 1
  for (const content of [cut, flipped]) {
    await shared.keep(nameOf(repoId, 'broken'), whole(content))
    t.equal(await has(store, content), false)
  }
  t.same([events, await rowsOf(repoId)], [['failed', 'failed'], []])
  t.match(failed, [{ code: 'corrupt' }, { code: 'corrupt' }])
})

t.test('one that comes after a purge is gone at once', async (t) => {
  const repoId = await makeRepo()
  const memory = createMemoryBlobStore()
  const content = packOf(5_000)
  const { shared, store, events } = open(
    {},
    {
      ...memory,
      async put(key, bytes, options) {
        const info = await memory.put(key, bytes, options)
        await db.transaction((tx) => stepRepository(tx, repoId, { refsChanged: false, packsChanged: false, addedBytes: 0, purged: true }))
        return info
      },
    },
  )
  await shared.keep(nameOf(repoId, 'late'), whole(content))
  t.same([events, await rowsOf(repoId), await has(store, content)], [[], [], false])
  t.same(await db.query(sql`SELECT FROM stored_blob WHERE key = ${keyOf(content)}`), [])
})

t.test('wrong bytes are never given whole, and are gone afterwards', async (t) => {
  const repoId = await makeRepo()
  const { shared, store, events, failed } = open()
  const content = packOf(5_000)
  const name = nameOf(repoId, 'wrong')
  const damages: readonly ((bytes: Buffer) => Buffer)[] = [
    (bytes) => (bytes.writeUInt8(bytes[2_500]! ^ 1, 2_500), bytes),
    (bytes) => bytes.subarray(0, 4_999),
    (bytes) => Buffer.concat([bytes, Buffer.from('x')]),
  ]
  for (const damage of damages) {
    await shared.keep(name, whole(content))
    await store.put(keyOf(content), oneChunk(damage(Buffer.from(content))))
    let got = 0
    const chunks = (await shared.find(name, undefined))!
    await t.rejects(
      async () => {
        for await (const chunk of chunks) got += chunk.length
      },
      { code: 'corrupt' },
    )
    t.ok(got < content.length)
    t.same([await rowsOf(repoId), await has(store, content)], [[], false])
    t.equal(await shared.find(name, undefined), undefined)
  }
  t.same(events, ['kept', 'found', 'wrong', 'kept', 'found', 'wrong', 'kept', 'found', 'wrong'])
  t.equal(failed.length, 3)
})

t.test('who leaves before the end may have met a wrong byte: the bytes are looked at, once in a while', async (t) => {
  const repoId = await makeRepo()
  const { store: inChunks, opens } = chopped(createMemoryBlobStore())
  const { shared, store, events } = open({}, inChunks)
  const content = packOf(5_000)
  const name = nameOf(repoId, 'left')
  const leave = async () => {
    for await (const _chunk of (await shared.find(name, undefined))!) return
  }
  await shared.keep(name, whole(content))
  await leave()
  t.ok(await becomes(() => opens() === 2), 'read through')
  await leave()
  await shared.close()
  t.equal(opens(), 3, 'it is believed in for a while')
  t.same(await rowsOf(repoId), [keyOf(content)])

  const other = open({}, store)
  const wrong = Buffer.from(content)
  wrong[4_000]! ^= 1
  await store.put(keyOf(content), oneChunk(wrong))
  for await (const _chunk of (await other.shared.find(name, undefined))!) break
  t.ok(await becomes(() => other.events.includes('wrong')))
  t.ok(await becomes(async () => (await rowsOf(repoId)).length === 0))
  t.ok(await becomes(async () => !(await has(store, content))))
  t.same(events, ['kept', 'found', 'found'])
})

t.test('bytes that are lost, and a database that is away, leave the answer to be made', async (t) => {
  const repoId = await makeRepo()
  const { shared, store, events } = open()
  const content = packOf(5_000)
  const name = nameOf(repoId, 'lost')
  await shared.keep(name, whole(content))
  await store.delete(keyOf(content))
  t.equal(await shared.find(name, undefined), undefined)
  t.same([events, await rowsOf(repoId)], [['kept', 'wrong'], []])
  const { connectionString } = db.connection as { readonly connectionString: string }
  const away = openDatabase({
    connection: { connectionString: connectionString.replace(/port=\d+/, 'port=1') },
    maxConnections: 1,
    statementTimeoutMs: 1_000,
  })
  t.teardown(() => away.close())
  const lost = open({ db: away }, store)
  t.equal(await lost.shared.find(name, undefined), undefined)
  await lost.shared.keep(name, whole(content))
  t.same(lost.events, ['failed', 'failed'])
  t.match(lost.failed, [{ code: 'unavailable' }, { code: 'unavailable' }])
})

t.test('there is no more than there is room for; what was used longest ago goes, and nothing that was used just now', async (t) => {
  await db.execute(sql`DELETE FROM shared_answer`)
  const repoId = await makeRepo()
  const { shared, store, events } = open({ maxBytes: 40_000 })
  const contents = Array.from({ length: 9 }, () => packOf(5_000))
  for (const [i, content] of contents.entries()) await shared.keep(nameOf(repoId, `${i}`), whole(content))
  t.same(events, [...Array.from({ length: 8 }, () => 'kept'), 'full'])
  t.equal(await shared.trim(), 0, 'all of them may be being read')
  for (const i of [0, 1, 2, 3, 4, 5])
    await db.execute(sql`UPDATE shared_answer SET used_at = now() - ${i + 1} * interval '2 hours' WHERE key = ${keyOf(contents[i]!)}`)
  t.ok(await shared.find(nameOf(repoId, '5'), undefined), 'the oldest is used')
  t.equal(await shared.trim(), 2)
  const left = await Promise.all(contents.map((content) => has(store, content)))
  t.same(left, [true, true, true, false, false, true, true, true, false])
  t.equal((await rowsOf(repoId)).length, 6)
  await db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repoId}`)
  t.equal(await shared.trim(), 6, 'of what nobody can ask for nothing stays')
})

t.test('a hub without room for any removes what nobody used for a day', async (t) => {
  const repoId = await makeRepo()
  const { shared, store } = open()
  const [old, young] = [packOf(5_000), packOf(5_000)]
  await shared.keep(nameOf(repoId, 'old'), whole(old))
  await shared.keep(nameOf(repoId, 'young'), whole(young))
  await db.execute(sql`UPDATE shared_answer SET used_at = now() - interval '25 hours' WHERE key = ${keyOf(old)}`)
  t.equal(await open({ maxBytes: 0 }, store).shared.trim(), 1)
  t.same(await rowsOf(repoId), [keyOf(young)])
})

t.test('the collector leaves what is kept so alone', async (t) => {
  const repoId = await makeRepo()
  const { shared, store } = open()
  const content = packOf(5_000)
  await shared.keep(nameOf(repoId, 'linked'), whole(content))
  const collector = createCollector({ db, store, unusedGraceMs: 0, doomedGraceMs: 0, storeTimeoutMs: 1_000 })
  t.equal(await collector.doom(keyOf(content)), false)
  t.equal(await collector.purge(keyOf(content)), false)
  t.equal(await has(store, content), true)
})
