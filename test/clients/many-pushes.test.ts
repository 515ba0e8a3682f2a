import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'

const pushes = 3000
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

t.test('3,000 small pushes: the last cost little more than the first, and so does a clone', async (t) => {
  const dir = t.testdir()
  const work = join(dir, 'work')
  await git(['init', '-q', '-b', 'main', work])
  const remote = await emptyRepo('many')
  const times: number[] = []
  for (let i = 0; i < pushes; i++) {
    await writeFile(join(work, `file${i % 20}.txt`), `push ${i}\n`.repeat(1 + (i % 10)))
    await git(['add', '-A'], { cwd: work })
    await git(['commit', '-q', '-m', `push ${i}`], { cwd: work })
    times.push(await timed(() => git(['push', '-q', remote, 'main'], { cwd: work })))
  }
  const first = median(times.slice(0, 100))
  const last = median(times.slice(-100))
  t.comment(`push: first hundred ${first.toFixed(1)} ms, last hundred ${last.toFixed(1)} ms (medians)`)
  t.ok(last <= 2 * first, `${last.toFixed(1)} ms against ${first.toFixed(1)} ms`)

  const once = await emptyRepo('once')
  await git(['push', '-q', once, 'main'], { cwd: work })
  let clones = 0
  const clone = (from: string) => timed(() => git(['clone', '-q', '--bare', from, join(dir, `clone-${clones++}`)]))
  const many: number[] = []
  const single: number[] = []
  for (let round = 0; round < 7; round++) {
    many.push(await clone(remote))
    single.push(await clone(once))
  }
  t.comment(`clone: of ${pushes} pushes ${median(many).toFixed(1)} ms, pushed at once ${median(single).toFixed(1)} ms (medians)`)
  t.ok(median(many) <= 2 * median(single), `${median(many).toFixed(1)} ms against ${median(single).toFixed(1)} ms`)
  await git(['fsck', '--strict', '--full'], { cwd: join(dir, 'clone-0') })
})
