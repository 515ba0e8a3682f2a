import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { openDatabase } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { git } from '../support/git.js'
import { replicasMissing, startReplicas, type Replica, type Replicas } from '../support/replicas.js'

const missing = await replicasMissing()
const hubs: Replicas | undefined = missing === false ? await startReplicas(t, { count: 3 }) : undefined
const home = await mkdtemp(join(tmpdir(), 'cairn-many-'))
t.teardown(() => rm(home, { recursive: true, force: true }))

const all = (): Replicas => hubs!
const text = async (args: readonly string[], cwd: string): Promise<string> => (await git(args, { cwd })).stdout.toString('utf8').trim()

async function emptyRepo(name: string): Promise<string> {
  const { status } = await all().api('POST', '/api/cairn/repos', { id: `admin/${name}`, empty: true })
  if (status !== 200) throw new Error(`create answered ${status}`)
  return `admin/${name}`
}

/** A clone with one commit pushed through the front. */
async function begun(name: string): Promise<{ readonly repo: string; readonly work: string }> {
  const repo = await emptyRepo(name)
  const work = join(home, name)
  await git(['init', '-q', work])
  await git(['remote', 'add', 'origin', all().remote(repo)], { cwd: work })
  await commit(work, 'first')
  await git(['push', '-q', 'origin', 'HEAD:main'], { cwd: work })
  return { repo, work }
}

const commit = (work: string, message: string) => git(['commit', '-q', '--allow-empty', '-m', message], { cwd: work })

t.test(
  'clones from one replica while pushes go through another: every clone is whole, and no older than what was acknowledged',
  { skip: missing },
  async (t) => {
    const { repo, work } = await begun('busy')
    let acknowledged = await text(['rev-parse', 'HEAD'], work)
    let pushing = true
    const pushes = (async () => {
      for (let i = 0; i < 12; i++) {
        await commit(work, `push ${i}`)
        await git(['push', '-q', all().remote(repo, all().replicas[0]), 'HEAD:main'], { cwd: work })
        acknowledged = await text(['rev-parse', 'HEAD'], work)
      }
      pushing = false
    })()
    let clones = 0
    const cloning = (replica: Replica) =>
      (async () => {
        for (let i = 0; pushing; i++) {
          const before = acknowledged
          const into = join(home, `busy-${replica.url.split(':').at(-1)}-${i}`)
          await git(['clone', '-q', all().remote(repo, replica), into])
          await git(['fsck', '--strict'], { cwd: into })
          t.equal((await git(['merge-base', '--is-ancestor', before, 'HEAD'], { cwd: into, ok: false })).code, 0, 'what was acknowledged is there')
          clones++
        }
      })()
    await Promise.all([pushes, ...all().replicas.slice(1).map(cloning)])
    t.ok(clones >= 4, `${clones} clones`)
  },
)

t.test('a pack too large for the database is pushed through one replica and cloned from the others', { skip: missing }, async (t) => {
  const { repo, work } = await begun('packed')
  const { writeFile } = await import('node:fs/promises')
  const content = randomBytes(3_000_000)
  await writeFile(join(work, 'data.bin'), content)
  await git(['add', '.'], { cwd: work })
  await commit(work, 'data')
  await git(['push', '-q', 'origin', 'HEAD:main'], { cwd: work })
  for (const replica of all().replicas) {
    const into = join(home, `packed-${replica.url.split(':').at(-1)}`)
    await git(['clone', '-q', all().remote(repo, replica), into])
    t.ok((await readFile(join(into, 'data.bin'))).equals(content))
    await git(['fsck', '--strict'], { cwd: into })
  }
})

t.test('batch on one replica, bytes to another, verify on the third, and every one has the object', { skip: missing }, async (t) => {
  const repo = await emptyRepo('large')
  const content = randomBytes(5_000_000)
  const oid = createHash('sha256').update(content).digest('hex')
  const [one, two, three] = all().replicas as [Replica, Replica, Replica]
  const ask = async (replica: Replica, path: string, body: unknown) => {
    const response = await fetch(`${replica.url}/${repo}.git/info/lfs/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`admin:${all().token}`).toString('base64')}`,
        accept: 'application/vnd.git-lfs+json',
        'content-type': 'application/vnd.git-lfs+json',
      },
      body: JSON.stringify(body),
    })
    return (await response.json()) as { objects: [{ actions?: Record<string, { href: string; header?: Record<string, string> }> }] }
  }
  const through = (replica: Replica, href: string): string => href.replace(all().url, replica.url)
  const { upload, verify } = (await ask(one, 'objects/batch', { operation: 'upload', objects: [{ oid, size: content.length }] })).objects[0].actions!
  t.ok(upload!.href.startsWith(all().url), 'links lead to the front')
  const put = await fetch(through(two, upload!.href), { method: 'PUT', body: content, headers: upload!.header ?? {} })
  t.equal(put.status, 200, await put.text())
  const verified = await fetch(through(three, verify!.href), { method: 'POST', body: JSON.stringify({ oid, size: content.length }) })
  t.equal(verified.status, 200)
  for (const replica of all().replicas) {
    const { download } = (await ask(replica, 'objects/batch', { operation: 'download', objects: [{ oid, size: content.length }] })).objects[0]
      .actions!
    const answer = await fetch(through(replica, download!.href))
    t.equal(answer.status, 200)
    t.ok(Buffer.from(await answer.arrayBuffer()).equals(content))
  }
})

t.test('what one replica is told the others know at the next request', { skip: missing }, async (t) => {
  await begun('told')
  const status = async (replica: Replica, path: string, token = all().token): Promise<number> =>
    (await fetch(`${replica.url}${path}`, { headers: { authorization: `Bearer ${token}` } })).status
  const on = (path: string, token?: string) => Promise.all(all().replicas.map((replica) => status(replica, path, token)))
  t.same(await on('/api/models/admin/told'), [200, 200, 200])
  await fetch(`${all().replicas[0]!.url}/api/repos/delete`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${all().token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'told', organization: 'admin', type: 'model' }),
  })
  t.same(await on('/api/models/admin/told'), [404, 404, 404])

  await all().api('POST', '/api/cairn/users', { name: 'eve' })
  const { body } = await all().api('POST', '/api/cairn/users/eve/tokens', { name: 'laptop' })
  const { token } = body as { token: string }
  t.same(await on('/api/whoami-v2', token), [200, 200, 200])
  const db = openDatabase({ connection: parseDatabaseUrl(all().postgres.url()), maxConnections: 1, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  await db.execute(sql`UPDATE tokens SET revoked_at = now() WHERE namespace_id = (SELECT id FROM namespaces WHERE name = 'eve')`)
  t.same(await on('/api/whoami-v2', token), [401, 401, 401])
})

t.test('a rolling restart under load: git sees no error, and nothing acknowledged is lost', { skip: missing, timeout: 240_000 }, async (t) => {
  const { repo, work } = await begun('rolling')
  let going = true
  const pushed: string[] = []
  const failures: string[] = []
  const load = (async () => {
    for (let i = 0; going; i++) {
      await commit(work, `rolling ${i}`)
      const { code, stderr } = await git(['push', '-q', 'origin', 'HEAD:main'], { cwd: work, ok: false })
      if (code === 0) pushed.push(await text(['rev-parse', 'HEAD'], work))
      else failures.push(stderr)
    }
  })()
  for (const replica of all().replicas) {
    t.equal(await replica.stop(), 0)
    await delay(300)
    await replica.start()
    // As long as what stands in front passes over one that did not answer.
    await delay(1_200)
  }
  going = false
  await load
  t.ok(pushed.length > 5, `${pushed.length} pushes`)
  t.same(failures, [])
  const { stdout } = await git(['ls-remote', all().remote(repo), 'refs/heads/main'])
  t.equal(stdout.toString().split('\t')[0], pushed.at(-1))
})

t.test(
  'replicas killed under load: what was acknowledged is there, and git goes on by itself or says what to do',
  { skip: missing, timeout: 240_000 },
  async (t) => {
    const { repo, work } = await begun('killed')
    let going = true
    const pushed: string[] = []
    const load = (async () => {
      for (let i = 0; going; i++) {
        await commit(work, `killed ${i}`)
        const { code } = await git(['push', '-q', 'origin', 'HEAD:main'], { cwd: work, ok: false })
        if (code === 0) pushed.push(await text(['rev-parse', 'HEAD'], work))
      }
    })()
    for (const replica of all().replicas) {
      await delay(400)
      await replica.kill()
      await delay(400)
      await replica.start()
    }
    going = false
    await load
    const last = pushed.at(-1)!
    for (const replica of all().replicas) {
      const into = join(home, `killed-${replica.url.split(':').at(-1)}`)
      await git(['clone', '-q', all().remote(repo, replica), into])
      t.equal((await git(['merge-base', '--is-ancestor', last, 'HEAD'], { cwd: into, ok: false })).code, 0)
      await git(['fsck', '--strict'], { cwd: into })
    }
  },
)

t.test('jobs run once, whoever takes them', { skip: missing }, async (t) => {
  const db = openDatabase({ connection: parseDatabaseUrl(all().postgres.url()), maxConnections: 1, statementTimeoutMs: 10_000 })
  t.teardown(() => db.close())
  const rows = await db.query<{ name: string; twice: number }>(sql`
    SELECT name, count(*)::int AS twice FROM pgboss.job WHERE state IN ('active', 'completed')
    GROUP BY name, singleton_key, date_trunc('minute', started_on) HAVING count(*) > 1`)
  t.same(rows, [])
})
