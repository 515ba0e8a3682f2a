import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { insertMove, takeSwitchLock } from '../../../src/db/hub-move.js'
import type { DirectConnection } from '../../../src/db/pool.js'
import { becomes } from '../../support/becomes.js'
import { git } from '../../support/git.js'
import { askBatch, downloadLarge, uploadLarge } from '../../support/moving.js'
import { serveHub, type ServedHub } from '../../support/served-hub.js'

const says = 'the hub is being moved, try again in a few minutes'

interface Story {
  readonly hub: ServedHub
  readonly folder: string
  readonly oid: string
  readonly content: Buffer
  readonly remote: string
  /** Until it is closed nothing may be changed. */
  readonly lock: DirectConnection
}

/** A hub with something in it, which has seen that it is being moved. */
async function begin(t: Test): Promise<Story> {
  const hub = await serveHub(t)
  const folder = await mkdtemp(join(tmpdir(), 'cairn-read-only-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/m', empty: true })
  const remote = `${hub.url.replace('http://', `http://user:${hub.token}@`)}/admin/m`
  await git(['init', '-q', folder])
  await git(['commit', '-q', '--allow-empty', '-m', 'one'], { cwd: folder })
  await git(['push', '-q', remote, 'HEAD:main'], { cwd: folder })
  const content = randomBytes(10_000)
  const { oid } = await uploadLarge(hub, 'admin/m', content)
  // So that a download has a key to sign with.
  await downloadLarge(hub, 'admin/m', oid, content.length)
  const lock = await hub.db.direct()
  t.teardown(() => lock.close().catch(() => undefined))
  await takeSwitchLock(lock)
  t.ok(await becomes(() => hub.services.readOnly?.() !== undefined, 10_000), 'the hub has seen it')
  return { hub, folder, remote, oid, content, lock }
}

t.test('while it is moved a hub says so to everybody who wants to change something', async (t) => {
  const { hub, folder, remote, oid } = await begin(t)

  t.test('git push', async (t) => {
    await git(['commit', '-q', '--allow-empty', '-m', 'two'], { cwd: folder })
    const { code, stderr } = await git(['push', remote, 'HEAD:main'], { cwd: folder, ok: false })
    t.equal(code, 128)
    t.match(stderr, `remote: ${says}\n`)
    t.match(stderr, 'The requested URL returned error: 503')
  })

  t.test('a push that had begun before hears it in its report', async (t) => {
    const zero = '0'.repeat(40)
    const line = `${'1'.repeat(40)} ${zero} refs/heads/main\0report-status`
    const body = `${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`
    const answer = await fetch(`${hub.url}/admin/m/git-receive-pack`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.token}`, 'content-type': 'application/x-git-receive-pack-request' },
      body,
    })
    t.equal(answer.status, 200)
    t.match(await answer.text(), `unpack ${says}\n`)
  })

  t.test('git-lfs', async (t) => {
    const fresh = createHash('sha256').update('fresh').digest('hex')
    const batch = await askBatch(hub, 'admin/m', 'upload', fresh, 5)
    t.equal(batch.status, 503)
    t.equal(batch.body.message, says)
    t.equal(batch.headers.get('retry-after'), '30')
    const locks = `${hub.url}/admin/m.git/info/lfs/locks`
    const headers = { authorization: `Bearer ${hub.token}`, accept: 'application/vnd.git-lfs+json', 'content-type': 'application/vnd.git-lfs+json' }
    const lock = await fetch(locks, { method: 'POST', headers, body: JSON.stringify({ path: 'a.bin' }) })
    t.equal(lock.status, 503)
    t.match(await lock.json(), { message: says })
    t.equal((await fetch(`${locks}/verify`, { method: 'POST', headers, body: '{}' })).status, 200)
    t.equal((await fetch(locks, { headers })).status, 200)
  })

  t.test('the API, for who could do it otherwise', async (t) => {
    for (const [method, path, body] of [
      ['POST', '/api/cairn/users', { name: 'bob' }],
      ['POST', '/api/cairn/users/admin/tokens', { name: 'x' }],
      ['POST', '/api/cairn/repos', { id: 'admin/other' }],
      ['POST', '/api/repos/create', { name: 'other' }],
      ['POST', '/api/models/admin/m/duplicate', { repository: 'other' }],
      ['DELETE', '/api/repos/delete', { name: 'm', organization: 'admin' }],
      ['POST', '/api/cairn/gc', {}],
      ['POST', '/api/cairn/fsck', { repair: true }],
      ['POST', '/api/cairn/fsck', { removeOrphans: true }],
    ] as const) {
      const answer = await hub.api(method, path, body)
      t.match(answer, { status: 503, body: { error: says } }, path)
      t.equal(answer.headers.get('retry-after'), '30', path)
      t.equal((await hub.api(method, path, body, '')).status, 401, `${path}, as nobody`)
    }
  })

  t.test('the sign-in page', async (t) => {
    const page = await fetch(`${hub.url}/sign-in`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `token=${hub.token}`,
    })
    t.equal(page.status, 503)
    t.match(await page.text(), says)
  })

  t.test('and what was sent before under a link', async (t) => {
    const put = await fetch(`${hub.url}/admin/m.git/info/lfs/objects/${oid}?token=x`, { method: 'PUT', body: 'x' })
    t.equal(put.status, 503)
  })
})

t.test('reading goes on, and so does changing when the move is given up', async (t) => {
  const { hub, folder, remote, oid, content, lock } = await begin(t)
  await git(['clone', '-q', remote, join(folder, 'clone')])
  t.ok((await downloadLarge(hub, 'admin/m', oid, content.length)).equals(content))
  for (const path of ['/api/models/admin/m', '/api/whoami-v2', '/sign-in', '/readyz']) t.equal((await hub.api('GET', path)).status, 200, path)
  t.equal((await hub.api('POST', '/api/cairn/fsck', { bytes: true })).status, 200)
  t.equal((await hub.api('POST', '/api/cairn/users', { name: 'bob' })).status, 503)
  await lock.close()
  t.ok(await becomes(() => hub.services.readOnly?.() === undefined, 10_000))
  t.equal((await hub.api('POST', '/api/cairn/users', { name: 'bob' })).status, 200)
  await git(['commit', '-q', '--allow-empty', '-m', 'two'], { cwd: folder })
  await git(['push', '-q', remote, 'HEAD:main'], { cwd: folder })
})

t.test('a hub whose data is elsewhere, or not all here, does not start', async (t) => {
  const hub = await serveHub(t)
  const { connectionString } = hub.db.connection as { readonly connectionString: string }
  const start = () => serveHub(t, { DATABASE_URL: connectionString })
  const other = { otherStore: '00000000-0000-4000-8000-000000000001', otherPlace: 'the database hub at db.example:5432 with the bucket models' }
  await insertMove(hub.db, { state: 'moved', ...other })
  await t.rejects(start(), {
    code: 'config',
    message:
      /^the data of this hub was moved to the database hub at db.example:5432 with the bucket models \(20\d\d-.*Z\): start it with the settings of that place\./,
  })
  await hub.db.execute({ text: "UPDATE hub_move SET state = 'arriving'", values: [] })
  await t.rejects(start(), {
    code: 'config',
    message:
      'the data that comes from the database hub at db.example:5432 with the bucket models is not all here: run the same cairn migrate-store --to … again, which goes on where it was',
  })
})
