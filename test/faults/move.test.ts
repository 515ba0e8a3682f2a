import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { sql } from '../../src/db/sql.js'
import { becomes } from '../support/becomes.js'
import { git } from '../support/git.js'
import { startHub, type Hub } from '../support/hub.js'
import { askBatch, downloadLarge, holdLock, outsidePlace, outsideToken, startMove, temporaryFolder, uploadLarge } from '../support/moving.js'
import { findMinio } from '../support/tools/minio.js'
import { startPostgres } from '../support/tools/postgres-server.js'

const minio = await findMinio()
const skip = minio.found.missing

const text = async (args: readonly string[], cwd: string): Promise<string> => (await git(args, { cwd })).stdout.toString('utf8').trim()

interface Work {
  /** The newest commit that the hub said it has. */
  acknowledged: string
  /** Large objects that it said it has. */
  readonly objects: Map<string, Buffer>
  readonly refusals: string[]
  stop(): Promise<void>
}

/** Pushes a commit and uploads a large file, again and again. */
function keepWorking(hub: Hub, folder: string, repo: string): Work {
  let going = true
  const work: Work = { acknowledged: '', objects: new Map(), refusals: [], stop: async () => {} }
  const pushing = (async () => {
    for (let i = 0; going; i++) {
      await git(['commit', '-q', '--allow-empty', '-m', `work ${i}`], { cwd: folder })
      const { code, stderr } = await git(['push', '-q', hub.remote(repo), 'HEAD:main'], { cwd: folder, ok: false })
      if (code === 0) work.acknowledged = await text(['rev-parse', 'HEAD'], folder)
      else work.refusals.push(stderr)
      await delay(50)
    }
  })()
  const uploading = (async () => {
    while (going) {
      const content = randomBytes(50_000)
      const { oid, status } = await uploadLarge(hub, repo, content)
      if (status === 200) work.objects.set(oid, content)
      await delay(100)
    }
  })()
  work.stop = async () => {
    going = false
    await Promise.all([pushing, uploading])
  }
  return work
}

t.test('a hub moves out while clients push, is killed on the way, and moves back', { skip, timeout: 300_000 }, async (t) => {
  const [postgres, s3] = await Promise.all([startPostgres(t), minio.found.tool!.start(t)])
  const place = await outsidePlace(t, postgres, s3)
  const folder = await temporaryFolder(t)
  const old = await startHub(t)
  const from = { CAIRN_DATA: old.dataDirectory }

  await old.api('POST', '/api/cairn/users', { name: 'bob' })
  const bob = ((await old.api('POST', '/api/cairn/users/bob/tokens', { name: 'laptop' })).body as { token: string }).token
  await old.api('POST', '/api/cairn/repos', { id: 'admin/busy', empty: true })
  await old.api('POST', '/api/cairn/repos', { id: 'bob/secret', private: true }, bob)
  const clone = join(folder, 'busy')
  await git(['init', '-q', clone])
  await git(['commit', '-q', '--allow-empty', '-m', 'first'], { cwd: clone })
  const large = new Map<string, Buffer>()
  for (let i = 0; i < 120; i++) {
    const content = randomBytes(i % 10 === 0 ? 2_000_000 : 100_000)
    const { oid, status } = await uploadLarge(old, 'admin/busy', content)
    t.equal(status, 200)
    large.set(oid, content)
  }
  const [[someOid, someContent]] = [...large] as [[string, Buffer]]
  const link = (await askBatch({ url: old.url, token: bob }, 'admin/busy', 'download', someOid, someContent.length)).object.actions!['download']!.href
  const work = keepWorking(old, clone, 'admin/busy')
  t.ok(await becomes(() => work.acknowledged !== ''))

  t.comment('killed while blobs are copied')
  const verified = async () => {
    const rows = await place.db.query<{ key: string }>(sql`SELECT key FROM moved_blob WHERE verified`).catch(() => [])
    return rows.map(({ key }) => key)
  }
  const first = await startMove(t, from, place.settings)
  t.ok(await becomes(async () => (await verified()).length > 0), first.output())
  await first.kill()
  const before = await verified()
  t.comment(`${before.length} blobs were there`)
  t.match((await startHub(t, { env: place.settings }).catch((error: Error) => error)) as Error, /is not all here: run the same cairn migrate-store/)

  t.comment('killed in the switch')
  const release = await holdLock(t, place.db, 'namespaces', 'ACCESS SHARE')
  const second = await startMove(t, from, place.settings)
  t.ok(await becomes(() => second.output().includes('copying the tables'), 60_000), second.output())
  const refusedAt = work.refusals.length
  t.ok(await becomes(() => work.refusals.length > refusedAt))
  t.match(work.refusals.at(-1), /the hub is being moved, try again in a few minutes/)
  await git(['clone', '-q', old.remote('admin/busy'), join(folder, 'in the switch')])
  await second.kill()
  await release()
  const stale = work.acknowledged
  t.ok(await becomes(() => work.acknowledged !== stale), 'the hub takes pushes again')

  t.comment('to the end')
  const third = await startMove(t, from, place.settings)
  t.equal(await third.ended, 0, third.output())
  t.comment(third.output())
  t.ok(await becomes(() => work.refusals.at(-1)?.includes('this hub was moved') === true))
  await work.stop()
  t.match((await old.api('POST', '/api/cairn/users', { name: 'eve' })).status, 503)
  await old.stop()
  t.match(
    (await startHub(t, { env: from }).catch((error: Error) => error)) as Error,
    /the data of this hub was moved to the database place_\w+ at 127.0.0.1:\d+ with the bucket/,
  )

  const outside = await startHub(t, { env: place.settings })
  await checkAll(outside)
  t.equal((await outside.api('GET', '/api/whoami-v2', undefined, outsideToken)).status, 200)

  t.comment('and back')
  const home = join(folder, 'home')
  const back = await startMove(t, place.settings, { CAIRN_DATA: home })
  t.equal(await back.ended, 0, back.output())
  await outside.stop()
  const again = await startHub(t, { env: { CAIRN_DATA: home } })
  t.equal(again.token, outsideToken)
  await checkAll(again)

  async function checkAll(hub: Hub): Promise<void> {
    const into = join(folder, `clone of ${new URL(hub.url).port}`)
    await git(['clone', '-q', hub.remote('admin/busy'), into])
    await git(['fsck', '--strict'], { cwd: into })
    t.equal(
      (await git(['merge-base', '--is-ancestor', work.acknowledged, 'origin/main'], { cwd: into, ok: false })).code,
      0,
      'what was acknowledged is there',
    )
    for (const [oid, content] of [...large, ...work.objects]) {
      if (!(await downloadLarge(hub, 'admin/busy', oid, content.length)).equals(content)) t.fail(`${oid} is another`)
    }
    const linked = await fetch(link.replace(old.url, hub.url))
    t.equal(linked.status, 200, 'a link that was given out before the move')
    t.ok(Buffer.from(await linked.arrayBuffer()).equals(someContent))
    t.match((await hub.api('GET', '/api/whoami-v2', undefined, bob)).body, { name: 'bob' })
    t.equal((await hub.api('GET', '/api/models/bob/secret', undefined, bob)).status, 200)
    t.equal((await hub.api('GET', '/api/models/bob/secret', undefined, '')).status, 401)
    await git(['commit', '-q', '--allow-empty', '-m', 'after the move'], { cwd: into })
    await git(['push', '-q', hub.remote('admin/busy'), 'HEAD:main'], { cwd: into })
    work.acknowledged = await text(['rev-parse', 'HEAD'], into)
    const content = randomBytes(3_000_000)
    t.match(await uploadLarge(hub, 'admin/busy', content), { status: 200 })
    t.match(await hub.api('POST', '/api/cairn/users', { name: `new-${new URL(hub.url).port}` }), { status: 200 })
  }
})
