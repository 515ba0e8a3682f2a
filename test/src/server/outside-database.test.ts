import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createTokenFor } from '../../../src/auth/accounts.js'
import { sql } from '../../../src/db/sql.js'
import { serveHub } from '../../support/served-hub.js'

t.test('what anybody changes in the database holds at the next request', async (t) => {
  const hub = await serveHub(t)
  t.equal((await hub.api('POST', '/api/cairn/users', { name: 'alice' })).status, 200)
  const [alice] = await hub.db.query<{ id: number }>(sql`SELECT id FROM namespaces WHERE name = 'alice'`)
  const { token } = await createTokenFor(hub.db, { userId: alice!.id, name: 'x', role: 'write', actorId: null })
  const who = async () => (await hub.api('GET', '/api/whoami-v2', undefined, token)).status
  const look = async () => (await hub.api('GET', '/api/models/alice/x', undefined, token)).status

  t.equal((await hub.api('POST', '/api/repos/create', { name: 'x', type: 'model', private: true }, token)).status, 200)
  t.same([await who(), await look()], [200, 200])
  await hub.db.execute(sql`UPDATE tokens SET revoked_at = now() WHERE namespace_id = ${alice!.id}`)
  t.same([await who(), await look()], [401, 401])
})

t.test('two hubs on one data folder: the second is refused, whatever its database', async (t) => {
  const one = await serveHub(t)
  await t.rejects(serveHub(t, { CAIRN_DATA: one.dataDirectory }), { code: 'config', message: /another hub is using/ })
})

t.test('a request that gets no connection in ten seconds is told to come again; those that hold them go on', async (t) => {
  const hub = await serveHub(t, { CAIRN_DATABASE_CONNECTIONS: '2' })
  const holder = await hub.db.direct()
  await holder.execute(sql`BEGIN`)
  await holder.execute(sql`LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE`)
  const asked: Promise<{ readonly status: number; readonly retryAfter: string | null; readonly seconds: number }>[] = []
  for (let i = 0; i < 4; i++) {
    const started = performance.now()
    const answer = hub.api('GET', '/api/whoami-v2')
    asked.push(
      answer.then(({ status, headers }) => ({ status, retryAfter: headers.get('retry-after'), seconds: (performance.now() - started) / 1000 })),
    )
    await delay(100) // or they share one statement
  }
  const late = await Promise.all(asked.slice(2))
  for (const { status, retryAfter, seconds } of late) {
    t.same([status, retryAfter], [503, '5'])
    t.ok(seconds > 9 && seconds < 20, `after ${seconds} s`)
  }
  await holder.close()
  t.same(
    (await Promise.all(asked.slice(0, 2))).map(({ status }) => status),
    [200, 200],
  )
})
