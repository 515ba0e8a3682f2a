import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { parseDatabaseUrl } from '../../src/config/database-url.js'
import { createJobs } from '../../src/jobs/jobs.js'
import { git } from '../support/git.js'
import { serveHub } from '../support/served-hub.js'
import { startPostgres } from '../support/tools/postgres-server.js'

const server = await startPostgres(t)
const hub = await serveHub(t, { DATABASE_URL: server.url() })
await hub.services.startJobs()
const remote = `${hub.url.replace('://', `://admin:${hub.token}@`)}/admin/restarted`
await hub.api('POST', '/api/cairn/repos', { type: 'model', id: 'admin/restarted', empty: true })
const work = join(t.testdir(), 'work')
await git(['init', '-q', '-b', 'main', work])
let commits = 0

async function commit(): Promise<string> {
  await writeFile(join(work, 'file'), `${++commits}\n`)
  await git(['add', '-A'], { cwd: work })
  await git(['commit', '-q', '-m', String(commits)], { cwd: work })
  return (await git(['rev-parse', 'HEAD'], { cwd: work })).stdout.toString().trim()
}
const push = () => git(['push', '-q', remote, 'main'], { cwd: work, ok: false })
const tip = async () => (await git(['ls-remote', remote, 'refs/heads/main'])).stdout.toString().slice(0, 40)

await commit()
await push()

const authorization = { authorization: `Bearer ${hub.token}` }
const requests: readonly (readonly [method: string, path: string, body?: string])[] = [
  ['GET', '/api/whoami-v2'],
  ['GET', '/api/models/admin/restarted'],
  ['GET', '/admin/restarted/info/refs?service=git-upload-pack'],
  ['GET', '/admin/restarted/resolve/main/file'],
  ['POST', '/admin/restarted.git/info/lfs/objects/batch', '{"operation":"download","objects":[]}'],
  ['POST', '/api/repos/create', '{"name":"later","type":"model"}'],
]
const statuses = () =>
  Promise.all(
    requests.map(async ([method, path, body]) => {
      const headers = { ...authorization, 'content-type': path.includes('/lfs/') ? 'application/vnd.git-lfs+json' : 'application/json' }
      const answer = await fetch(hub.url + path, { method, headers, ...(body === undefined ? {} : { body }) })
      const said = await answer.text()
      return { status: answer.status, retryAfter: answer.headers.get('retry-after'), said }
    }),
  )

t.test('while the database is away everything that needs it says 503, and the hub goes on when it is back', async (t) => {
  for (const [how, end] of [
    ['stopped', () => server.stop()],
    ['killed', () => server.kill()],
  ] as const) {
    await end()
    const away = await statuses()
    t.same(
      away.map(({ status, retryAfter }) => [status, retryAfter]),
      requests.map(() => [503, '5']),
      how,
    )
    for (const { said } of away) t.notMatch(said, server.password)
    t.equal((await fetch(`${hub.url}/readyz`)).status, 503)
    t.equal((await fetch(`${hub.url}/healthz`)).status, 200)
    await server.start()
    t.same(
      (await statuses()).map(({ status }) => status),
      how === 'stopped' ? [200, 200, 200, 200, 200, 200] : [200, 200, 200, 200, 200, 409],
      `${how}, and back at the first request`,
    )
    t.equal((await fetch(`${hub.url}/readyz`)).status, 200)
  }
})

t.test('jobs go on when it is back', async (t) => {
  let runs = 0
  const jobs = createJobs({
    connection: parseDatabaseUrl(server.url()),
    tasks: { count: async () => void runs++ },
    schedule: { count: 1_000 },
    log: () => undefined,
    timings: { pollMs: 500, superviseMs: 1_000, retryMs: 1_000 },
  })
  await jobs.start()
  const until = async (enough: number) => {
    for (const deadline = performance.now() + 30_000; runs < enough && performance.now() < deadline; ) await delay(50)
    return runs >= enough
  }
  t.ok(await until(1))
  await server.stop()
  await delay(1_500)
  await server.start()
  t.ok(await until(runs + 2))
  await jobs.close()
})

interface Updating {
  updating?: boolean
  connection: { readonly stream: { pause(): void; destroy(): void } }
}
let plan: { readonly point: string; readonly strike: () => Promise<void> } | undefined
const take = (point: string) => {
  if (plan?.point !== point) return undefined
  const { strike } = plan
  plan = undefined
  return strike
}
const original = pg.Client.prototype.query as unknown as (this: Updating, ...args: unknown[]) => Promise<unknown>
pg.Client.prototype.query = function (this: Updating, ...args: unknown[]): Promise<unknown> {
  const text = (args[0] as { text?: string } | undefined)?.text ?? ''
  if (text.includes('FOR NO KEY UPDATE')) {
    this.updating = true
    const strike = take('in the transaction')
    if (strike) return strike().then(() => original.apply(this, args))
  }
  if (text !== 'COMMIT' || !this.updating) return original.apply(this, args)
  this.updating = false
  const before = take('before COMMIT')
  if (before) return before().then(() => original.apply(this, args))
  const answer = original.apply(this, args)
  void take('at COMMIT')?.()
  const unheard = take('at COMMIT, and its answer is lost')
  if (unheard) {
    this.connection.stream.pause() // it may come before the next turn
    setImmediate(() => {
      this.connection.stream.destroy()
      void unheard()
    })
  }
  const after = take('after COMMIT')
  return after ? answer.then(async (value) => after().then(() => value)) : answer
} as unknown as typeof pg.Client.prototype.query
t.teardown(() => {
  pg.Client.prototype.query = original as unknown as typeof pg.Client.prototype.query
})

/** What the client was told. Silence is no report. */
const reportOf = ({ code, stderr }: { readonly code: number; readonly stderr: string }) =>
  code === 0 ? 'success' : stderr.includes('[remote rejected]') ? 'failure' : 'silence'

t.test('a database that is started again in mid-push: what was reported is what is there', async (t) => {
  for (const point of ['in the transaction', 'before COMMIT', 'at COMMIT', 'at COMMIT', 'at COMMIT', 'after COMMIT']) {
    for (const end of [() => server.stop(), () => server.kill()]) {
      const before = await tip()
      const attempted = await commit()
      let back = Promise.resolve()
      plan = {
        point,
        strike: () => {
          const gone = end()
          back = gone.then(() => server.start())
          return gone
        },
      }
      const pushed = await push()
      t.equal(plan, undefined, `${point}: it was struck`)
      await back
      const report = reportOf(pushed)
      const after = await tip()
      if (report === 'success') t.equal(after, attempted, `${point}: success`)
      else if (report === 'failure') t.equal(after, before, `${point}: failure`)
      if (point === 'in the transaction' || point === 'before COMMIT') t.equal(after, before, point)
      if (point === 'at COMMIT' || point === 'before COMMIT')
        t.not(report, 'silence', `${point}: settled when the database was back: ${pushed.stderr}`)
      if (point === 'after COMMIT') t.match([report, after], ['success', attempted], point)
      if (after !== attempted) t.equal((await push()).code, 0, 'the retry goes through')
      t.equal(await tip(), attempted)
    }
  }
  await git(['fsck', '--strict'], { cwd: work })
})

t.test('a database that stays away after COMMIT was sent: no report, neither way', async (t) => {
  const attempted = await commit()
  let killed = Promise.resolve()
  plan = { point: 'at COMMIT, and its answer is lost', strike: () => (killed = server.kill()) }
  const pushed = await push()
  t.equal(reportOf(pushed), 'silence', pushed.stderr)
  await killed
  await server.start()
  await push()
  t.equal(await tip(), attempted)
})
