import { createHash, randomBytes, randomInt } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { git } from '../support/git.js'
import { replicasMissing, startReplicas, type Replicas } from '../support/replicas.js'

/*
 * Hubs, PostgreSQL and MinIO are killed at random moments under mixed load. After each: what was acknowledged is readable and the same, what
 * was not is not there or whole, and the hubs answer again without being restarted by anybody.
 */

const rounds = Number(process.env['CAIRN_TEST_KILL_ROUNDS'] ?? 15)
const missing = await replicasMissing()
const started: Replicas | undefined = missing === false ? await startReplicas(t, { count: 2 }) : undefined
const home = await mkdtemp(join(tmpdir(), 'cairn-outages-'))
t.teardown(() => rm(home, { recursive: true, force: true }))

interface Acknowledged {
  /** Commits that a push was acknowledged for, in order. */
  readonly commits: string[]
  /** Sizes of large objects whose PUT was answered with 200, by oid: hundreds of rounds bring gigabytes. */
  readonly objects: Map<string, number>
  /** What clients were told when it did not work. */
  readonly failures: string[]
}

/** Has all large objects. */
const repo = 'admin/outages'
/** Rounds after which pushes go to a new repository: every round clones all of it, more than once. */
const roundsPerRepo = 25

interface Pushed {
  readonly repo: string
  readonly work: string
  /** How many commits had been acknowledged before it was made. */
  readonly known: number
}

const answers = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) }).then(
    ({ ok }) => ok,
    () => false,
  )

/** Without a restart by hand. */
async function untilAllAnswer(hubs: Replicas): Promise<void> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const ready = await Promise.all(hubs.replicas.map(({ url }) => answers(url)))
    // What stands in front passes over one that did not answer for a second more.
    if (ready.every(Boolean)) {
      await delay(1_200)
      return
    }
    if (performance.now() > deadline)
      throw new Error(`the hubs do not answer again: ${hubs.replicas.map(({ output }) => output().slice(-2_000)).join('\n')}`)
    await delay(100)
  }
}

function authorization(hubs: Replicas): Record<string, string> {
  return { authorization: `Bearer ${hubs.token}`, 'content-type': 'application/vnd.git-lfs+json', accept: 'application/vnd.git-lfs+json' }
}

async function actionFor(hubs: Replicas, operation: 'upload' | 'download', oid: string, size: number): Promise<string | undefined> {
  const response = await fetch(`${hubs.url}/${repo}.git/info/lfs/objects/batch`, {
    method: 'POST',
    headers: authorization(hubs),
    body: JSON.stringify({ operation, objects: [{ oid, size }] }),
    signal: AbortSignal.timeout(60_000),
  })
  if (!response.ok) throw new Error(`batch: ${response.status} ${await response.text()}`)
  const { objects } = (await response.json()) as { objects: [{ actions?: Record<string, { href: string }> }] }
  return objects[0].actions?.[operation]?.href
}

/** Pushes of a few bytes and of a megabyte, one after the other, until told to stop. A push that failed is tried again, as people do. */
async function pushLoad(hubs: Replicas, { repo, work }: Pushed, { commits, failures }: Acknowledged, going: () => boolean): Promise<void> {
  for (let i = 0; going(); i++) {
    if (i % 3 === 2) await writeFile(join(work, `file-${i % 9}.bin`), randomBytes(1_000_000))
    else await writeFile(join(work, 'small.txt'), String(Math.random()))
    await git(['add', '.'], { cwd: work })
    await git(['commit', '-q', '-m', `commit ${i}`], { cwd: work })
    const { code, stderr } = await git(['push', '-q', hubs.remote(repo), 'HEAD:main'], { cwd: work, ok: false })
    if (code === 0) commits.push((await git(['rev-parse', 'HEAD'], { cwd: work })).stdout.toString().trim())
    else failures.push(`push: ${stderr}`)
  }
}

async function largeLoad(hubs: Replicas, { objects, failures }: Acknowledged, going: () => boolean): Promise<void> {
  while (going()) {
    const content = randomBytes(randomInt(1, 3_000_000))
    const oid = createHash('sha256').update(content).digest('hex')
    try {
      const href = await actionFor(hubs, 'upload', oid, content.length)
      if (href === undefined) continue
      const response = await fetch(href, { method: 'PUT', body: content, signal: AbortSignal.timeout(60_000) })
      if (response.status === 200) objects.set(oid, content.length)
      else failures.push(`PUT: ${response.status} ${await response.text()}`)
    } catch (error) {
      failures.push(`PUT: ${(error as Error).message}`)
    }
    await delay(20)
  }
}

async function cloneLoad(hubs: Replicas, { repo }: Pushed, { failures }: Acknowledged, going: () => boolean): Promise<void> {
  for (let i = 0; going(); i++) {
    const into = join(home, `clone-${i}`)
    const { code, stderr } = await git(['clone', '-q', '--bare', hubs.remote(repo), into], { ok: false })
    if (code !== 0) failures.push(`clone: ${stderr}`)
    await rm(into, { recursive: true, force: true })
    await delay(50)
  }
}

async function newRepo(hubs: Replicas, round: number, known: Acknowledged): Promise<Pushed> {
  const pushed = { repo: `${repo}-${round}`, work: join(home, `work-${round}`), known: known.commits.length }
  await hubs.api('POST', '/api/cairn/repos', { id: pushed.repo, empty: true })
  await git(['init', '-q', pushed.work])
  return pushed
}

/** Whether a large object can be had, and is what it is called. */
async function isSound(hubs: Replicas, oid: string, size: number): Promise<boolean> {
  const href = await actionFor(hubs, 'download', oid, size)
  if (href === undefined) return false
  const hash = createHash('sha256')
  for await (const chunk of (await fetch(href)).body!) hash.update(chunk)
  return hash.digest('hex') === oid
}

async function outage(hubs: Replicas, round: number): Promise<string> {
  const victim = ['hub', 'PostgreSQL', 'MinIO'][round % 3]!
  await delay(randomInt(100, 900))
  if (victim === 'hub') {
    const replica = hubs.replicas[randomInt(hubs.replicas.length)]!
    await replica.kill()
    await delay(randomInt(50, 500))
    await replica.start()
  } else if (victim === 'PostgreSQL') {
    await hubs.postgres.kill()
    await delay(randomInt(50, 500))
    await hubs.postgres.start()
  } else {
    await hubs.s3.kill()
    await delay(randomInt(50, 500))
    await hubs.s3.start()
  }
  return victim
}

t.test(`${rounds} outages under load`, { skip: missing, timeout: 0 }, async (t) => {
  const hubs = started!
  const beganAt = performance.now()
  await hubs.api('POST', '/api/cairn/repos', { id: repo, empty: true })
  const known: Acknowledged = { commits: [], objects: new Map(), failures: [] }
  let pushed = await newRepo(hubs, 0, known)
  for (let round = 0; round < rounds; round++) {
    if (round > 0 && round % roundsPerRepo === 0) pushed = await newRepo(hubs, round, known)
    let going = true
    const isGoing = () => going
    const load = Promise.all([pushLoad(hubs, pushed, known, isGoing), largeLoad(hubs, known, isGoing), cloneLoad(hubs, pushed, known, isGoing)])
    const victim = await outage(hubs, round)
    await untilAllAnswer(hubs)
    await delay(300)
    going = false
    await load
    // The last commit of a push that failed may be there or not; what was acknowledged is.
    const into = join(home, `check-${round}`)
    await git(['clone', '-q', '--bare', hubs.remote(pushed.repo), into])
    await git(['fsck', '--strict', '--full'], { cwd: into })
    const last = known.commits.slice(pushed.known).at(-1)
    if (last !== undefined)
      t.equal(
        (await git(['merge-base', '--is-ancestor', last, 'main'], { cwd: into, ok: false })).code,
        0,
        `round ${round}, ${victim}: the last acknowledged push`,
      )
    await rm(into, { recursive: true, force: true })
    for (const [oid, size] of [...known.objects].slice(-4)) t.ok(await isSound(hubs, oid, size), `round ${round}, ${victim}: ${oid.slice(0, 8)}`)
    if (round % 10 === 9) t.comment(`${round + 1} rounds in ${Math.round((performance.now() - beganAt) / 1000)} s`)
  }
  for (const [oid, size] of known.objects) if (!(await isSound(hubs, oid, size))) t.fail(`${oid} is not what was acknowledged`)
  t.ok(known.commits.length >= rounds, `${known.commits.length} pushes were acknowledged`)
  t.ok(known.objects.size >= rounds, `${known.objects.size} large objects were acknowledged`)
  // Every failure says something a person can act on, and none of it is a stack or an unexplained 500.
  const unexplained = known.failures.filter((failure) => /\b500\b|Internal Server Error|at .*\.(js|ts):\d+/.test(failure))
  t.same(unexplained, [], `${known.failures.length} failures were told to clients`)
  t.comment([...new Set(known.failures.map((failure) => failure.slice(0, 300)))].slice(0, 20).join('\n'))
})
