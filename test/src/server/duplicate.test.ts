/** Copies of repositories, as git, git-lfs and whoever has an object's name find them. */
import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { encodePointer } from '../../../lfs/pointer.js'
import { parseLfsOid } from '../../../lfs/types.js'
import { runCli } from '../../../src/cli/commands.js'
import { sql } from '../../../src/db/sql.js'
import { callApi } from '../../support/api.js'
import { workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { askBatch, downloadLarge, uploadLarge } from '../../support/moving.js'
import { putRef } from '../../support/put-ref.js'
import { serveHub } from '../../support/served-hub.js'

const hub = await serveHub(t)
const { db, token } = hub
const remote = (repo: string, as = token) => `${hub.url.replace('://', `://user:${as}@`)}/${repo}`
const made = async (id: string, more: object = {}) => void (await hub.api('POST', '/api/cairn/repos', { id, empty: true, ...more }))
const duplicate = (from: string, repository: string, more: object = {}, call = hub.api) =>
  call('POST', `/api/models/${from}/duplicate`, { repository, ...more })
const collect = () => hub.api('POST', '/api/cairn/gc', { what: ['packs'] })

t.test('git finds all of the history, and no secret by its name: before a collection, after it, and in a copy that shares packs', async (t) => {
  const dir = t.testdir()
  await made('admin/leaky')
  const work = await workTree(dir)
  const clean = await work.commit({ weights: randomBytes(500_000) }, 'clean')
  const push = (...refspecs: string[]) => git(['push', '-q', '--force', remote('admin/leaky'), ...refspecs], { cwd: work.cwd })
  await push(`${clean}:refs/heads/main`)
  const forced = await work.commit({ secret: randomBytes(500) }, 'forced away')
  await push(`${forced}:refs/heads/main`)
  await push(`${clean}:refs/heads/main`)
  await work.reset(clean)
  const proposed = await work.commit({ secret: randomBytes(300_000) }, 'proposed')
  await putRef(hub, work, 'admin/leaky', { name: 'refs/pr/1', oid: proposed, base: clean })
  await work.reset(clean)
  const hidden = await work.commit({ secret: randomBytes(300_000) }, 'hidden')
  await putRef(hub, work, 'admin/leaky', { name: 'refs/internal/keep', oid: hidden, base: clean })
  await git(['tag', '-a', '-m', 'first', 'v1', clean], { cwd: work.cwd })
  await push('refs/tags/v1')

  const secrets = [forced, proposed, hidden]
  for (const oid of [...secrets]) secrets.push(await work.rev(`${oid}^{tree}`), await work.rev(`${oid}:secret`))
  const fetching = (repo: string, oid: string) => git(['fetch', '-q', remote(repo), oid], { cwd: join(dir, 'fetches'), ok: false })
  await git(['init', '-q', join(dir, 'fetches')])
  t.equal((await fetching('admin/leaky', forced)).code, 0, 'what was force-pushed away can be had from the source for a while')
  t.equal((await fetching('admin/leaky', proposed)).code, 0)
  await git(['init', '-q', join(dir, 'other')])

  const expected = (await git(['rev-list', '--objects', '--no-object-names', clean, 'v1'], { cwd: work.cwd })).stdout.toString()
  const check = async (name: string) => {
    t.same((await duplicate('admin/leaky', name)).body, { url: `${hub.url}/admin/${name}` })
    await git(['init', '-q', join(dir, `by-name-${name}`)])
    for (const oid of secrets) {
      const { code, stderr } = await git(['fetch', remote(`admin/${name}`), oid], { cwd: join(dir, `by-name-${name}`), ok: false })
      t.not(code, 0, `${name}: ${oid}`)
      t.match(stderr, 'not our ref')
      for (const path of [`/admin/${name}/resolve/${oid}/secret`, `/admin/${name}/raw/${oid}/secret`, `/api/models/admin/${name}/revision/${oid}`])
        t.equal((await hub.api('GET', path)).status, 404, path)
    }
    const clone = join(dir, `clone-${name}`)
    await git(['clone', '-q', '--mirror', remote(`admin/${name}`), clone])
    await git(['fsck', '--strict', '--full'], { cwd: clone })
    t.same((await git(['for-each-ref', '--format=%(refname)'], { cwd: clone })).stdout.toString(), 'refs/heads/main\nrefs/tags/v1\n')
    t.equal(
      (await git(['rev-list', '--objects', '--no-object-names', '--all'], { cwd: clone })).stdout.toString().split('\n').toSorted().join(),
      expected.split('\n').toSorted().join(),
    )
  }
  const sources = (name: string) => db.query(sql`SELECT p.source FROM packs p JOIN repositories r ON r.id = p.repo_id WHERE r.name = ${name}`)
  await check('before')
  t.same(await sources('before'), [{ source: 'copy' }])
  t.equal((await collect()).status, 200)
  await check('after')
  t.same(await sources('after'), [{ source: 'gc' }], 'a pack of the source')
  const found = await hub.api('POST', '/api/cairn/fsck', { bytes: true })
  t.match(found.body, { figures: { repositories: 3, left: 0, orphans: 0 } }, 'and nothing else is said')
})

t.test('packs of a large repository are shared, survive its purge and its end, and go with the last that needs them', async (t) => {
  const dir = t.testdir()
  await made('admin/large')
  const work = await workTree(dir)
  const first = await work.commit({ a: randomBytes(300_000) })
  const push = (...refspecs: string[]) => git(['push', '-q', '--force', remote('admin/large'), ...refspecs], { cwd: work.cwd })
  await push(`${first}:refs/heads/main`)
  const second = await work.commit({ b: randomBytes(300_000) })
  await push(`${second}:refs/heads/main`)
  await collect()
  const files = async () => (await readdir(join(hub.dataDirectory, 'blobs'), { recursive: true })).filter((name) => name.endsWith('.pack')).length
  const before = await files()
  t.equal((await duplicate('admin/large', 'large-copy')).status, 200)
  t.equal(await files(), before)
  t.same(await db.query(sql`SELECT p.source FROM packs p JOIN repositories r ON r.id = p.repo_id WHERE r.name = 'large-copy'`), [{ source: 'gc' }])
  await push(`${first}:refs/heads/main`)
  const purge = (repo: string) => hub.api('POST', `/api/cairn/models/admin/${repo}/purge`, { oids: [second] })
  const purged = (await purge('large')).body as { objects: number; blobs: number; left: string[] }
  t.ok(purged.objects > 0)
  const shared = await db.query<{ key: string }>(
    sql`SELECT l.key FROM blob_link l JOIN repositories r ON r.id = l.repo_id WHERE r.name = 'large-copy'`,
  )
  t.equal(shared.length, 4)
  t.ok(
    shared.every(({ key }) => purged.left.includes(key)),
    'the pack and its indexes are of use to another one',
  )
  t.match(await purge('large-copy'), { status: 409, body: { error: /still leads to/ } }, 'whose own branch leads there')
  await hub.api('DELETE', '/api/repos/delete', { name: 'large' })
  const clone = join(dir, 'clone')
  await git(['clone', '-q', remote('admin/large-copy'), clone])
  t.equal((await git(['rev-parse', 'HEAD'], { cwd: clone })).stdout.toString().trim(), second)
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  await git(['push', '-q', '--force', remote('admin/large-copy'), `${first}:refs/heads/main`], { cwd: work.cwd })
  t.match(await purge('large-copy'), { status: 200, body: { left: [] } })
})

t.test('large files: those of the copied history are there without being sent, and no others', async (t) => {
  await made('admin/weights', { private: true })
  const work = await workTree(t.testdir())
  const [kept, gone, unused] = await Promise.all(
    [1_000, 2_000, 3_000].map(async (size) => {
      const bytes = randomBytes(size)
      return { bytes, size, oid: (await uploadLarge(hub, 'admin/weights', bytes)).oid }
    }),
  )
  const pointer = ({ oid, size }: { oid: string; size: number }) => encodePointer({ oid: parseLfsOid(oid), size }).toString()
  const push = (...refspecs: string[]) => git(['push', '-q', '--force', remote('admin/weights'), ...refspecs], { cwd: work.cwd })
  const first = await work.commit({ 'a.bin': pointer(kept!) })
  const second = await work.commit({ 'a.bin': pointer(gone!) })
  await push(`${second}:refs/heads/main`)
  await push(`${first}:refs/heads/main`)
  for (const name of ['weights-before', 'weights-after']) {
    t.equal((await duplicate('admin/weights', name)).status, 200)
    t.ok((await downloadLarge(hub, `admin/${name}`, kept!.oid, kept!.size)).equals(kept!.bytes), name)
    for (const { oid, size } of [gone!, unused!])
      t.match(await askBatch(hub, `admin/${name}`, 'download', oid, size), { object: { error: { code: 404 } } }, name)
    t.match(await hub.api('GET', `/api/models/admin/${name}`), { body: { private: true } })
    await collect()
  }
})

t.test('by the command line; who may', async (t) => {
  await made('admin/public')
  await made('admin/hidden', { private: true })
  await hub.api('POST', '/api/cairn/users', { name: 'bob' })
  const { token: bobs } = (await hub.api('POST', '/api/cairn/users/bob/tokens', {})).body as { token: string }
  const bob = callApi(hub.url, () => bobs)
  t.same((await duplicate('admin/public', 'mine', {}, bob)).body, { url: `${hub.url}/bob/mine` })
  t.match(await duplicate('admin/public', 'mine', {}, bob), { status: 409, body: { url: `${hub.url}/bob/mine` } })
  t.equal((await duplicate('admin/public', 'admin/theirs', {}, bob)).status, 403)
  const [hidden, none] = [await duplicate('admin/hidden', 'x', {}, bob), await duplicate('admin/none', 'x', {}, bob)]
  t.same([hidden.status, hidden.body], [404, { error: 'Repository not found' }])
  t.same([none.status, none.body], [404, { error: 'Repository not found' }])
  t.equal(
    (
      await duplicate(
        'admin/public',
        'bob/x',
        {},
        callApi(hub.url, () => ''),
      )
    ).status,
    401,
  )
  const lines: string[] = []
  const say = (text: string) => void lines.push(text)
  const env = { CAIRN_URL: hub.url, CAIRN_TOKEN: token }
  t.equal(await runCli(['repo', 'duplicate', 'admin/hidden', 'bob/seen', '--public'], { env, out: say, err: say }), 0)
  t.same(lines, [`${hub.url}/bob/seen`])
  t.match(await bob('GET', '/api/models/bob/seen'), { status: 200, body: { private: false } })
})
