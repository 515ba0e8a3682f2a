import t, { type Test } from 'tap'
import { startListener, type ListenerOptions } from '../../../src/db/listener.js'
import { openDatabase } from '../../../src/db/pool.js'
import { parsePurgeHint, tellPurge } from '../../../src/db/purges.js'
import { sql } from '../../../src/db/sql.js'
import { becomes } from '../../support/becomes.js'
import { testDatabase } from '../../support/postgres.js'
import { startPostgres } from '../../support/tools/postgres-server.js'
import { openTcpGate } from '../../support/tools/tcp-gate.js'

const db = await testDatabase(t)
await db.execute(sql`INSERT INTO namespaces (kind, name) VALUES ('user', 'someone')`)
await db.execute(
  sql`INSERT INTO repositories (namespace_id, type, name, visibility, purge_epoch) SELECT id, 'model', 'x', 'public', 7 FROM namespaces`,
)
const [{ id: repoId } = { id: 0 }] = await db.query<{ id: number }>(sql`SELECT id FROM repositories`)

function listen(t: Test, options: Partial<ListenerOptions> = {}) {
  const heard: string[] = []
  const lost: unknown[] = []
  let begun = 0
  const listener = startListener({
    db,
    channel: 'cairn_purges',
    onNotification: (payload) => void heard.push(payload),
    onListening: async () => void begun++,
    onLost: (error) => void lost.push(error),
    checkEveryMs: 50,
    answerMs: 500,
    retryMs: 20,
    ...options,
  })
  t.teardown(() => listener.close())
  return { listener, heard, lost, begun: () => begun }
}

const tell = () => db.transaction((tx) => tellPurge(tx, repoId))

t.test('what a transaction tells is heard when it is committed, and not at all when it is not', async (t) => {
  const { listener, heard, lost, begun } = listen(t)
  t.ok(await becomes(() => listener.isListening))
  t.equal(begun(), 1)
  await t.rejects(
    db.transaction(async (tx) => {
      await tellPurge(tx, repoId)
      throw new Error('no')
    }),
    /no/,
  )
  await tell()
  t.ok(await becomes(() => heard.length > 0))
  t.same(heard, [`${repoId} 7`])
  t.same(heard.map(parsePurgeHint), [{ repoId, purgeEpoch: 7 }])
  await listener.close()
  t.same([listener.isListening, lost], [false, []])
})

t.test('a connection that ends is followed by another, and what was told meanwhile is left to be looked up', async (t) => {
  const { listener, heard, lost, begun } = listen(t, { retryMs: 400 })
  t.ok(await becomes(() => listener.isListening))
  const ended = await db.query<{ ended: boolean }>(sql`
    SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity
    WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT FROM pg_listening_channels)'`)
  t.same(ended, [{ ended: true }])
  t.ok(await becomes(() => !listener.isListening, 150), 'known at once')
  await tell()
  t.ok(await becomes(() => listener.isListening))
  t.same([begun(), lost.length, heard], [2, 1, []])
  await tell()
  t.ok(await becomes(() => heard.length === 1))
})

t.test('when what has to be looked up cannot be, it does not count as listening', async (t) => {
  let tries = 0
  const { listener, lost } = listen(t, {
    onListening: async () => {
      if (++tries < 3) throw new Error('the pool is away')
    },
  })
  t.ok(await becomes(() => listener.isListening))
  t.match([tries, lost], [3, [{ message: 'the pool is away' }, { message: 'the pool is away' }]])
})

t.test('a way that swallows everything is noticed, and closing does not wait for it', async (t) => {
  const server = await startPostgres(t)
  const gate = await openTcpGate(t, `http://127.0.0.1:${server.port}`)
  const far = openDatabase({
    connection: { connectionString: server.url({ port: Number(new URL(gate.url).port) }) },
    maxConnections: 1,
    statementTimeoutMs: 10_000,
  })
  t.teardown(() => far.close())
  const { listener, lost, begun } = listen(t, { db: far })
  t.ok(await becomes(() => listener.isListening))
  gate.silence()
  t.ok(await becomes(() => begun() === 2))
  t.match(lost, [{ code: 'unavailable' }])
  gate.silence()
  const began = performance.now()
  await listener.close()
  t.ok(performance.now() - began < 4_000)
})

t.test('hints of other releases are passed over', async (t) => {
  for (const payload of ['', '5', '5 6 7', '-5 6', 'x 1', '1234567890123456 1']) t.equal(parsePurgeHint(payload), undefined, payload)
})
