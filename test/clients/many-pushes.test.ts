import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'

const pushes = 3000
const compared = 100
const hub = await startHub(t)

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

async function emptyRepo(name: string): Promise<string> {
  const { status } = await hub.api('POST', '/api/cairn/repos', { type: 'model', id: `admin/${name}`, empty: true })
  t.equal(status, 200)
  return hub.remote(`admin/${name}`)
}

/** A line of small commits, oldest first. */
async function writeCommits(bare: string, count: number): Promise<readonly string[]> {
  await git(['init', '-q', '--bare', bare])
  const parts: string[] = []
  for (let i = 1; i <= count; i++) {
    const message = `push ${i}\n`
    const content = message.repeat(1 + (i % 10))
    parts.push(
      `commit refs/heads/main\nmark :${i}\ncommitter A U Thor <a@example.com> ${1_700_000_000 + i} +0000\ndata ${message.length}\n${message}`,
    )
    parts.push(`M 100644 inline file${i % 20}.txt\ndata ${content.length}\n${content}\n`)
  }
  await git(['fast-import', '--quiet'], { cwd: bare, input: Buffer.from(parts.join('')) })
  return (await git(['rev-list', '--reverse', 'main'], { cwd: bare })).stdout.toString().trim().split('\n')
}

t.test('3,000 small pushes: the last hundred cost little more than a first hundred, and so does a clone', async (t) => {
  const dir = t.testdir()
  const bare = join(dir, 'source.git')
  const commits = await writeCommits(bare, pushes)
  const many = await emptyRepo('many')
  const fresh = await emptyRepo('fresh')
  const push = (remote: string, oid: string) => timed(() => git(['push', '-q', remote, `${oid}:refs/heads/main`], { cwd: bare }))

  for (const oid of commits.slice(0, -compared)) await push(many, oid)
  // In turns, so that whatever else this machine does weighs on both alike.
  const first: number[] = []
  const last: number[] = []
  for (let i = 0; i < compared; i++) {
    first.push(await push(fresh, commits[i]!))
    last.push(await push(many, commits[pushes - compared + i]!))
  }
  t.comment(`push: first hundred ${median(first).toFixed(1)} ms, last hundred ${median(last).toFixed(1)} ms (medians)`)
  t.ok(median(last) <= 2 * median(first), `${median(last).toFixed(1)} ms against ${median(first).toFixed(1)} ms`)

  const once = await emptyRepo('once')
  await git(['push', '-q', once, 'main'], { cwd: bare })
  let clones = 0
  const clone = (from: string) => timed(() => git(['clone', '-q', '--bare', from, join(dir, `clone-${clones++}`)]))
  const cloneMany: number[] = []
  const cloneOnce: number[] = []
  for (let round = 0; round < 7; round++) {
    cloneMany.push(await clone(many))
    cloneOnce.push(await clone(once))
  }
  t.comment(`clone: of ${pushes} pushes ${median(cloneMany).toFixed(1)} ms, pushed at once ${median(cloneOnce).toFixed(1)} ms (medians)`)
  t.ok(median(cloneMany) <= 2 * median(cloneOnce), `${median(cloneMany).toFixed(1)} ms against ${median(cloneOnce).toFixed(1)} ms`)
  await git(['fsck', '--strict'], { cwd: join(dir, 'clone-0') })
  t.equal((await git(['rev-list', '--count', 'main'], { cwd: join(dir, 'clone-0') })).stdout.toString().trim(), String(pushes))
})
