import { randomBytes } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findRunningEmbedded } from '../../src/db/embedded/running.js'
import { openDatabase, type Database } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { becomes } from '../support/becomes.js'
import { startHub, type Hub } from '../support/hub.js'
import {
  downloadLarge,
  holdLock,
  outsidePlace,
  runMove,
  startMove,
  temporaryFolder,
  uploadLarge,
  type OutsidePlace,
  type Settings,
} from '../support/moving.js'
import { replicasMissing, startReplicas } from '../support/replicas.js'
import { findMinio } from '../support/tools/minio.js'
import { startPostgres } from '../support/tools/postgres-server.js'
import { findPostgres } from '../support/tools/postgres-versions.js'

const minio = await findMinio()
const [oldest, tooOld] = [await findPostgres(15), await findPostgres(14)]
const skip = minio.found.missing || oldest.missing
const [postgres, s3] = skip ? [] : await Promise.all([startPostgres(t, { nativeDirectory: oldest.tool! }), minio.found.tool!.start(t)])
const place = (t: Test): Promise<OutsidePlace> => outsidePlace(t, postgres!, s3!)

interface Old {
  readonly hub: Hub
  readonly from: Settings
  readonly db: Database
  readonly objects: Map<string, Buffer>
}

/** A hub on a database of its own, with two large files. */
async function begin(t: Test): Promise<Old> {
  const hub = await startHub(t)
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/m', empty: true })
  const objects = new Map<string, Buffer>()
  for (const bytes of [1_000, 300_000]) {
    const content = randomBytes(bytes)
    objects.set((await uploadLarge(hub, 'admin/m', content)).oid, content)
  }
  return { hub, from: { CAIRN_DATA: hub.dataDirectory }, db: embedded(t, hub.dataDirectory), objects }
}

function embedded(t: Test, dataDirectory: string): Database {
  const db = openDatabase({ connection: findRunningEmbedded(dataDirectory)!, maxConnections: 2, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  return db
}

const fails = async (starting: Promise<unknown>): Promise<string> =>
  starting.then(
    () => 'it started',
    (error: Error) => error.message,
  )
const makeUser = async (hub: Pick<Hub, 'api'>, name: string): Promise<number> => (await hub.api('POST', '/api/cairn/users', { name })).status
const count = async (db: Database, table: string): Promise<number> =>
  (await db.query<{ n: number }>({ text: `SELECT count(*) AS n FROM ${table}`, values: [] }))[0]!.n

t.test(
  'killed when the target has all, and the source does not know: the source goes on, and nothing is lost',
  { skip, timeout: 120_000 },
  async (t) => {
    const { hub, from, db, objects } = await begin(t)
    const { settings, db: targetDb } = await place(t)
    const release = await holdLock(t, db, 'hub_move', 'SHARE')
    const move = await startMove(t, from, settings)
    t.ok(await becomes(async () => (await count(targetDb, 'namespaces').catch(() => 0)) > 0, 60_000), move.output())
    await move.kill()
    await release()
    t.match(await fails(startHub(t, { env: settings })), /is not all here: run the same cairn migrate-store --to … again/)
    t.ok(await becomes(async () => (await makeUser(hub, 'late')) === 200), 'the hub takes changes again')

    const again = await startMove(t, from, settings)
    t.equal(await again.ended, 0, again.output())
    t.equal(await makeUser(hub, 'too-late'), 503)
    const moved = await startHub(t, { env: settings })
    t.equal(await makeUser(moved, 'late'), 409, 'it came along')
    for (const [oid, content] of objects) t.ok((await downloadLarge(moved, 'admin/m', oid, content.length)).equals(content))
  },
)

t.test('killed when the source is sealed, and the target does not know: run again, it is a hub', { skip, timeout: 120_000 }, async (t) => {
  const { hub, from, db } = await begin(t)
  const { settings, db: targetDb } = await place(t)
  t.ok(await becomes(async () => (await makeUser(hub, 'early')) === 200))
  const first = await startMove(t, from, settings)
  t.ok(await becomes(async () => (await count(targetDb, 'hub_move').catch(() => 0)) === 1, 60_000), first.output())
  const release = await holdLock(t, targetDb, 'hub_move', 'SHARE')
  t.ok(await becomes(async () => (await count(db, 'hub_move')) === 1, 60_000), first.output())
  await first.kill()
  await release()
  t.equal(await makeUser(hub, 'late'), 503)
  t.match(await fails(startHub(t, { env: settings })), /is not all here/)
  const again = await startMove(t, from, settings)
  t.equal(await again.ended, 0, again.output())
  t.match(again.output(), 'the source was sealed before, and what is left is done now')
  const moved = await startHub(t, { env: settings })
  t.equal(await makeUser(moved, 'early'), 409)
  t.equal(await makeUser(moved, 'fresh'), 200)
  const once = await startMove(t, from, settings)
  t.equal(await once.ended, 0)
  t.match(once.output(), 'the data was moved there before: nothing to do')
})

t.test(
  'a command that freezes in the switch loses it: the hub goes on, and the command ends when it wakes',
  { skip, timeout: 120_000 },
  async (t) => {
    const { hub, from } = await begin(t)
    const { settings, db: targetDb } = await place(t)
    const move = await startMove(t, from, settings)
    t.ok(await becomes(async () => (await count(targetDb, 'hub_move').catch(() => 0)) === 1, 60_000), move.output())
    const release = await holdLock(t, targetDb, 'namespaces', 'ACCESS SHARE')
    t.ok(await becomes(() => move.output().includes('copying the tables'), 60_000), move.output())
    t.equal(await makeUser(hub, 'early'), 503)
    move.child.kill('SIGSTOP')
    t.ok(await becomes(async () => (await makeUser(hub, 'late')) === 200, 45_000), 'the server ended what it had not heard of for 30 s')
    await release()
    move.child.kill('SIGCONT')
    t.equal(await move.ended, 1)
    t.match(move.output(), /cairn: the database cannot be reached \(the embedded database of the source\): /)
    t.equal(await makeUser(hub, 'later'), 200)
    const again = await startMove(t, from, settings)
    t.equal(await again.ended, 0, again.output())
    const moved = await startHub(t, { env: settings })
    t.same([await makeUser(moved, 'late'), await makeUser(moved, 'later'), await makeUser(moved, 'early')], [409, 409, 200])
  },
)

t.test('lost and damaged bytes are named, and the hub stays where it is unless they are accepted', { skip, timeout: 120_000 }, async (t) => {
  const { hub, from, objects } = await begin(t)
  const { settings } = await place(t)
  const [[lost], [damaged, content]] = [...objects] as [[string, Buffer], [string, Buffer]]
  const fine = await uploadLarge(hub, 'admin/m', Buffer.from('fine'))
  const key = (oid: string) => `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`
  await rm(join(hub.dataDirectory, 'blobs', key(lost)))
  const bytes = Buffer.from(content)
  bytes[150_000]! ^= 1
  await writeFile(join(hub.dataDirectory, 'blobs', key(damaged)), bytes)

  const refused = await startMove(t, from, settings)
  t.equal(await refused.ended, 1)
  t.match(refused.output(), `${key(lost)}: ${key(lost)} is not in the store\n`)
  t.match(refused.output(), `${key(damaged)}: the bytes have the SHA-256 `)
  t.match(
    refused.output(),
    '2 blobs that are needed are lost or damaged in the source: bring the bytes back from a backup, or say --accept-lost to move without them\n',
  )
  t.notMatch(refused.output(), 'takes no changes')
  t.equal(await makeUser(hub, 'bob'), 200)

  const accepted = await startMove(t, from, settings, ['--accept-lost'])
  t.equal(await accepted.ended, 0, accepted.output())
  await hub.stop()
  const moved = await startHub(t, { env: settings })
  t.equal((await downloadLarge(moved, 'admin/m', fine.oid, 4)).toString(), 'fine')
  for (const oid of [lost, damaged]) await t.rejects(downloadLarge(moved, 'admin/m', oid, objects.get(oid)!.length))
})

t.test(
  'without a hub the command brings its database up, and down again; stopped by Ctrl-C too; and all can be taken back',
  { skip, timeout: 120_000 },
  async (t) => {
    const { hub, from, objects } = await begin(t)
    const { settings, db: targetDb } = await place(t)
    await hub.stop()
    const stopped = await startMove(t, from, settings)
    t.ok(await becomes(() => stopped.output().includes('takes no changes'), 60_000), stopped.output())
    stopped.child.kill('SIGINT')
    t.equal(await stopped.ended, 1)
    t.match(stopped.output(), 'cairn: stopped: run the same command again, and it goes on where it was\n')
    t.equal(findRunningEmbedded(hub.dataDirectory), undefined)

    const move = await startMove(t, from, settings)
    t.equal(await move.ended, 0, move.output())
    t.equal(findRunningEmbedded(hub.dataDirectory), undefined)
    t.equal(await count(targetDb, 'moved_blob'), 0)
    t.match(await fails(startHub(t, { env: from })), /the data of this hub was moved to /)

    const undone = await runMove(t, from, ['--undo'])
    t.equal(await undone.ended, 0, undone.output())
    t.match(
      undone.output(),
      /^The data is the hub's again\. What was changed since at the other place, the database place_\w+ at 127\.0\.0\.1:\d+ with the bucket /,
    )
    await hub.restart()
    t.equal(await makeUser(hub, 'bob'), 200)
    for (const [oid, content] of objects) t.ok((await downloadLarge(hub, 'admin/m', oid, content.length)).equals(content))
    const nothing = await runMove(t, from, ['--undo'])
    t.equal(await nothing.ended, 1)
    t.match(nothing.output(), 'cairn: nothing was moved away from here\n')
  },
)

t.test('places that do not go together are refused, and stay as they are', { skip, timeout: 120_000 }, async (t) => {
  const { hub, from } = await begin(t)
  const [one, two] = [await place(t), await place(t)]
  const folder = await temporaryFolder(t)
  const refused = async (source: Settings, target: Settings): Promise<string> => {
    const move = await startMove(t, source, target)
    t.equal(await move.ended, 1, move.output())
    return move.output()
  }
  const other = await startHub(t, { env: two.settings })
  const bucketOf = (settings: Settings) => Object.fromEntries(Object.entries(settings).filter(([name]) => name.startsWith('CAIRN_S3_')))

  t.match(
    await refused(from, two.settings),
    /the target: the database place_\w+ at .* is not empty: a hub uses its database\. Data moves into an empty database and an empty store\n/,
  )
  t.match(await refused(from, { ...one.settings, ...bucketOf(two.settings) }), /is not empty: the bucket .* holds store-id\./)
  t.match(
    await refused(two.settings, { CAIRN_DATA: join(folder, 'x'), ...bucketOf(two.settings) }),
    'source and target have the same store: both change places',
  )
  t.match(await refused(two.settings, { ...two.settings, ...bucketOf(one.settings) }), 'source and target have the same database: both change places')
  t.match(
    await refused(from, { ...from, ...bucketOf(one.settings) }),
    `source and target are both in ${hub.dataDirectory}: CAIRN_DATA of the target must be another folder`,
  )
  t.match(
    await refused({ CAIRN_DATA: join(folder, 'nobody') }, one.settings),
    `the source: there is no hub in ${join(folder, 'nobody')} (CAIRN_DATA)`,
  )
  t.match(await refused(one.settings, { CAIRN_DATA: join(folder, 'y') }), /the source: no hub has (used this database|been started there) yet/)
  t.match(
    await refused({ ...from, CAIRN_SECRET_KEY: 'not the one that the hub was run with' }, one.settings),
    'does not open: was CAIRN_SECRET_KEY changed?',
  )
  t.match(
    await refused(from, { ...one.settings, DATABASE_URL: 'mysql://x' }),
    /in .*target\.env: the settings are wrong: DATABASE_URL must be an address/,
  )
  t.match(
    await refused({ ...two.settings, ...bucketOf(one.settings) }, { CAIRN_DATA: join(folder, 'z') }),
    "is not the store of the source's database: its store-id says nothing",
  )

  // Not even a row was left by all that.
  await one.db.execute(sql`DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)`)
  t.match(await refused(one.settings, from), /the source: the database was used by an older release of cairn last/)
  await one.db.execute({ text: 'DROP SCHEMA public CASCADE; CREATE SCHEMA public', values: [] })
  t.equal(await makeUser(hub, 'bob'), 200)
  t.equal(await makeUser(other, 'bob'), 200)
  const move = await startMove(t, from, one.settings)
  t.equal(await move.ended, 0, move.output())
  t.match(await refused(two.settings, one.settings), /is not empty/)
  await two.db.execute({ text: 'DROP TABLE hub_move, moved_blob', values: [] })
  await two.db.execute(sql`DELETE FROM schema_migrations WHERE name = '0011-moving'`)
  t.match(await refused(one.settings, two.settings), /is not empty: a hub uses its database/)
  t.same(await two.db.query(sql`SELECT FROM schema_migrations WHERE name = '0011-moving'`), [], 'of another release, it is left as it is')
  const three = await place(t)
  await three.db.execute({ text: 'CREATE TABLE orders (id int)', values: [] })
  t.match(await refused(one.settings, three.settings), /is not empty: its database has a table orders\./)
  await hub.stop()
  t.match(await refused(one.settings, from), /is a place that data was moved away from, to the database place_/)
  t.notOk((await readdir(folder)).includes('nobody'))
})

t.test('a PostgreSQL that is too old is refused, and which of the two it is', { skip: skip || tooOld.missing }, async (t) => {
  const old = await startPostgres(t, { nativeDirectory: tooOld.tool! })
  const { from } = await begin(t)
  const move = await startMove(t, from, { ...(await place(t)).settings, DATABASE_URL: old.url() })
  t.equal(await move.ended, 1)
  t.equal(move.output(), 'cairn: the target: the database is PostgreSQL 14.23, and this release needs 15 or newer: see DATABASE_URL\n')
})

const noReplicas = await replicasMissing()

t.test(
  'every replica refuses changes for the switch, and goes on when the command is killed',
  { skip: skip || noReplicas, timeout: 120_000 },
  async (t) => {
    const { replicas, token, postgres, s3, bucket } = await startReplicas(t, { count: 2 })
    const home = join(await temporaryFolder(t), 'home')
    const account = s3.account(bucket)
    const from = {
      DATABASE_URL: postgres.url(),
      CAIRN_ADMIN_TOKEN: token,
      CAIRN_SECRET_KEY: 's'.repeat(40),
      CAIRN_S3_ENDPOINT: account.endpoint,
      CAIRN_S3_BUCKET: bucket,
      CAIRN_S3_ACCESS_KEY: account.accessKey,
      CAIRN_S3_SECRET_KEY: account.secretKey,
    }
    let n = 0
    const change = (url: string) =>
      fetch(`${url}/api/cairn/users`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name: `user-${n++}` }),
      }).then(({ status }) => status)
    const look = (url: string) => fetch(`${url}/api/whoami-v2`, { headers: { authorization: `Bearer ${token}` } }).then(({ status }) => status)
    const all = (ask: (url: string) => Promise<number>) => Promise.all(replicas.map(({ url }) => ask(url)))
    t.same(await all(change), [200, 200])

    const move = await startMove(t, from, { CAIRN_DATA: home })
    t.ok(await becomes(() => findRunningEmbedded(home) !== undefined, 60_000), move.output())
    const target = embedded(t, home)
    let release: (() => Promise<void>) | undefined
    t.ok(await becomes(async () => (release ??= await holdLock(t, target, 'namespaces', 'ACCESS SHARE').catch(() => undefined)) !== undefined))
    t.ok(await becomes(() => move.output().includes('copying the tables'), 60_000), move.output())
    t.same(await all(change), [503, 503])
    t.same(await all(look), [200, 200])
    await move.kill()
    await release!()
    t.ok(await becomes(async () => (await all(change)).every((status) => status === 200)))
    await target.close()

    const again = await startMove(t, from, { CAIRN_DATA: home })
    t.equal(await again.ended, 0, again.output())
    t.same(await all(change), [503, 503])
    const moved = await startHub(t, { env: { CAIRN_DATA: home } })
    t.equal(moved.token, token)
    t.equal(await makeUser(moved, 'user-0'), 409)
    t.equal(await makeUser(moved, 'fresh'), 200)
  },
)
