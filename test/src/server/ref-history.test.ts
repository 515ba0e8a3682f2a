/** What refs were, and the way back, with what leads nowhere collected in between. */
import t from 'tap'
import { runCli } from '../../../src/cli/commands.js'
import { sql } from '../../../src/db/sql.js'
import { callApi } from '../../support/api.js'
import { workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { serveHub } from '../../support/served-hub.js'

const hub = await serveHub(t)
const { db, token } = hub
const remote = (repo: string) => hub.url.replace('://', `://user:${token}@`) + `/${repo}`
const work = await workTree(t.testdir())
const push = (...refspecs: string[]) => git(['push', '-q', '--force', remote('admin/undo'), ...refspecs], { cwd: work.cwd })
const heads = async () => (await git(['ls-remote', remote('admin/undo')])).stdout.toString()
const collect = () => hub.api('POST', '/api/cairn/gc', { what: ['packs'] })

async function cairn(...args: string[]) {
  const lines: string[] = []
  const say = (text: string) => void lines.push(text)
  const code = await runCli(args, { env: { CAIRN_URL: hub.url, CAIRN_TOKEN: token }, out: say, err: say })
  return { code, text: lines.join('\n') }
}

await hub.api('POST', '/api/cairn/repos', { id: 'admin/undo', empty: true })
const first = await work.commit({ a: '1' }, 'first')
const second = await work.commit({ a: '2' }, 'second')
await push(`${second}:refs/heads/main`)
const third = await work.commit({ a: '3', b: 'x' }, 'third')
await push(`${third}:refs/heads/topic`)
await push(`${first}:refs/heads/main`)
await push(':refs/heads/topic')

t.test('the log, newest first, by pages and by ref', async (t) => {
  const { body } = await hub.api('GET', '/api/cairn/models/admin/undo/reflog')
  const actor = 'admin'
  t.match(body, {
    steps: [
      { ref: 'refs/heads/topic', oldOid: third, newOid: null, actor },
      { ref: 'refs/heads/main', oldOid: second, newOid: first, actor },
      { ref: 'refs/heads/topic', oldOid: null, newOid: third, actor },
      { ref: 'refs/heads/main', oldOid: null, newOid: second, actor },
    ],
    next: null,
  })
  const page = await cairn('repo', 'reflog', 'admin/undo', '--ref', 'main')
  t.equal(page.code, 0)
  t.match(page.text.split('\n'), [new RegExp(`^20.*Z  ${second}  ${first}  admin  refs/heads/main$`), new RegExp(`-{40}  ${second}`)])
  const one = (await hub.api('GET', '/api/cairn/models/admin/undo/reflog?limit=1')).body as { next: number }
  t.match((await hub.api('GET', `/api/cairn/models/admin/undo/reflog?limit=2&before=${one.next}`)).body, {
    steps: [{ newOid: first }, { newOid: third }],
  })
  t.equal((await hub.api('GET', '/api/cairn/models/admin/undo/reflog?limit=many')).status, 400)
  t.equal((await hub.api('GET', '/api/cairn/models/admin/undo/reflog?ref=a..b')).status, 400)
})

t.test('a deleted branch and a force-pushed tip come back after a collection, byte for byte', async (t) => {
  t.match((await collect()).body, { packs: { collected: 1, garbage: 7 } })
  const empty = t.testdir()
  await git(['init', '-q', empty])
  t.match(await git(['fetch', '-q', remote('admin/undo'), third], { cwd: empty, ok: false }), { code: 128, stderr: /not our ref/ })
  t.match(await cairn('repo', 'restore', 'admin/undo', 'topic', third), { code: 0, text: `refs/heads/topic is at ${third}` })
  t.match(await cairn('repo', 'restore', 'admin/undo', 'main', second), { code: 0 })
  t.match(await heads(), new RegExp(`${second}\trefs/heads/main\n${third}\trefs/heads/topic`))
  const clone = t.testdir()
  await git(['clone', '-q', '--mirror', remote('admin/undo'), clone])
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  t.equal((await git(['rev-parse', 'refs/heads/topic^{tree}'], { cwd: clone })).stdout.toString().trim(), await work.rev(`${third}^{tree}`))
  t.match(await cairn('repo', 'restore', 'admin/undo', 'main', second), { code: 0 }, 'where it is already')
  await collect()
  await git(['clone', '-q', '--mirror', remote('admin/undo'), `${clone}/again`])
  await git(['fsck', '--strict', '--full'], { cwd: `${clone}/again` })
})

t.test('what no ref was at, what is over, and names that may not be', async (t) => {
  const restore = (ref: string, oid: string) => hub.api('POST', '/api/cairn/models/admin/undo/restore', { ref, oid })
  t.match(await restore('main', 'f'.repeat(40)), { status: 404, body: { error: /nothing in admin\/undo was at f{40} lately/ } })
  t.match(await restore('refs/pr/1', first), { status: 422, body: { error: /kept for the hub/ } })
  t.match(await restore('refs/heads/-x', first), { status: 400 })
  t.match(await restore('main', 'main'), { status: 400 })
  t.match(await restore('refs/heads/topic/deeper', first), { status: 409 }, 'a branch is in the way')
  const fourth = await work.commit({ c: 'gone' }, 'fourth')
  await push(`${fourth}:refs/heads/gone`)
  await push(':refs/heads/gone')
  await collect()
  await db.execute(sql`UPDATE ref_log SET at = at - interval '100 days'`)
  t.match(await restore('gone', fourth), { status: 404 })
  t.match(await restore('early', first), { status: 200 }, 'what is in use needs no log')
})

t.test('who may', async (t) => {
  await hub.api('POST', '/api/cairn/users', { name: 'bob' })
  const tokenOf = async (role: string) => ((await hub.api('POST', '/api/cairn/users/bob/tokens', { role })).body as { token: string }).token
  const [writing, reading] = [await tokenOf('write'), await tokenOf('read')]
  const bob = callApi(hub.url, () => writing)
  const reader = callApi(hub.url, () => reading)
  await hub.api('POST', '/api/cairn/repos', { id: 'bob/own' })
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/hidden', private: true })
  const statuses = async (call: typeof bob, repo: string) => [
    (await call('GET', `/api/cairn/models/${repo}/reflog`)).status,
    (await call('POST', `/api/cairn/models/${repo}/restore`, { ref: 'main', oid: first })).status,
  ]
  t.same(await statuses(bob, 'bob/own'), [200, 404], 'his own, but no such commit')
  t.same(await statuses(reader, 'bob/own'), [403, 403])
  t.same(await statuses(bob, 'admin/undo'), [403, 403], 'a public one of somebody else')
  t.same(await statuses(bob, 'admin/hidden'), [404, 404])
  t.same(await statuses(bob, 'admin/none'), [404, 404])
  t.equal((await fetch(`${hub.url}/api/cairn/models/admin/undo/reflog`)).status, 401)
})
