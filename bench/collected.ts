import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { git, gitEnvironment } from '../test/support/git.js'
import { makeBigRepo } from './make-big-repo.js'
import { readProbe } from './probed.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, secondsText } from './timing.js'
import { fetchBody, gitCost, hubCost } from './upload-pack.js'

const run = promisify(execFile)
const commits = 52_000
const payloadBytes = 9_000
const rounds = 5
const MB = 1e6

/** A big repository as it is after years: collected on both sides, and then read in every way that clients read. */
export async function* collectedBench({ folder, hub, probeFile }: Bench): AsyncGenerator<Row> {
  const source = join(folder, 'collected.git')
  await makeBigRepo(source, commits, payloadBytes)
  const rev = async (name: string) => (await git(['rev-parse', name], { cwd: source })).stdout.toString().trim()
  const tip = await rev('main')
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/collected', empty: true })
  await git(['push', '-q', hub.remote('admin/collected'), 'main'], { cwd: source })
  const facts = (await git(['count-objects', '-v'], { cwd: source })).stdout.toString()
  const figure = (name: string): number => Number(new RegExp(`${name}: (\\d+)`).exec(facts)?.[1])
  const what = `${figure('in-pack')} objects, ${(figure('size-pack') / 1000).toFixed(0)} MB`

  const theirs = await gcSeconds(folder, source)
  await readProbe(hub, probeFile)
  await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
  const ours = (await readProbe(hub, probeFile)).cpuSeconds
  yield atMost(`collection of ${what}, CPU, against git gc`, ours / theirs, 1, `${secondsText([ours])}, peer ${secondsText([theirs])}`)
  await git(['gc', '-q'], { cwd: source })

  const compare = async function* (
    name: string,
    body: string,
    goal: number,
    memoryGoal?: number,
    config?: readonly string[],
    times = 1,
  ): AsyncGenerator<Row> {
    const [mine, other, mineMemory, otherMemory]: [number[], number[], number[], number[]] = [[], [], [], []]
    for (let round = 0; round < rounds; round++) {
      const here = await hubCost(folder, hub, probeFile, 'admin/collected', body, times)
      const there = await gitCost(folder, source, body, config, times)
      mine.push(here.cpuSeconds)
      other.push(there.cpuSeconds)
      mineMemory.push(here.grown)
      otherMemory.push(there.maxRss)
    }
    yield atMost(`${name}: CPU`, median(mine) / median(other), goal, `${secondsText(mine)}, peer ${secondsText(other)}`)
    if (memoryGoal !== undefined) {
      const [grown, peerMemory] = [median(mineMemory), median(otherMemory)]
      yield atMost(`${name}: memory`, grown / peerMemory, memoryGoal, `${(grown / MB).toFixed(0)} MB, peer ${(peerMemory / MB).toFixed(0)} MB`)
    }
  }
  const whole = fetchBody([tip])
  yield* compare('full clone', whole, 0.1, 0.2)
  yield* compare('full clone, against git with its bitmap', whole, 0.5, undefined, ['pack.useBitmaps=true'])
  yield* compare('blob:none clone', fetchBody([tip], ['filter blob:none']), 0.1, undefined, ['pack.useBitmaps=false', 'uploadpack.allowFilter=true'])
  yield* compare('20 clones of depth 1, not the first', fetchBody([tip], ['deepen 1']), 0.1, undefined, undefined, 20)
  for (const [name, back, times] of [
    ['20 fetches of 1 commit', 1, 20],
    ['fetch of 1,000 commits', 1_000, 1],
  ] as const)
    yield* compare(name, fetchBody([tip], [`have ${await rev(`main~${back}`)}`]), 0.5, undefined, undefined, times)

  yield* afterPushes()

  /** A clone of what was collected and then pushed to ten times; once more before each round, since an answer that was made is kept. */
  async function* afterPushes(): AsyncGenerator<Row> {
    let [last, pushes] = [tip, 0]
    const pushOne = async (): Promise<void> => {
      last = await changeOneFile(source, last, `${(pushes += 1)}`)
      await git(['push', '-q', hub.remote('admin/collected'), `${last}:refs/heads/main`], { cwd: source })
      await git(['update-ref', 'refs/heads/main', last], { cwd: source })
    }
    for (let i = 1; i < 10; i++) await pushOne()
    const [mine, plain, bitmapped]: [number[], number[], number[]] = [[], [], []]
    for (let round = 0; round < rounds; round++) {
      await pushOne()
      const body = fetchBody([last])
      mine.push((await hubCost(folder, hub, probeFile, 'admin/collected', body)).cpuSeconds)
      plain.push((await gitCost(folder, source, body)).cpuSeconds)
      bitmapped.push((await gitCost(folder, source, body, ['pack.useBitmaps=true'])).cpuSeconds)
    }
    const name = 'full clone after ten pushes'
    yield atMost(`${name}: CPU`, median(mine) / median(plain), 0.2, `${secondsText(mine)}, peer ${secondsText(plain)}`)
    yield atMost(`${name}, against git with its bitmap`, median(mine) / median(bitmapped), 1, `peer ${secondsText(bitmapped)}`)
  }
}

/** A commit on `parent` that has one file more; its oid. */
async function changeOneFile(bare: string, parent: string, name: string): Promise<string> {
  const said = async (args: string[], input?: Buffer): Promise<string> =>
    (await git(args, { cwd: bare, ...(input ? { input } : {}) })).stdout.toString().trim()
  const blob = await said(['hash-object', '-w', '--stdin'], Buffer.from(`pushed ${name}\n`))
  const tree = await said(['ls-tree', `${parent}^{tree}`])
  const changed = await said(['mktree'], Buffer.from(`${tree}\n100644 blob ${blob}\tpushed-${name}\n`))
  return said(['commit-tree', '-m', `push ${name}`, '-p', parent, changed])
}

/** Processor seconds of `git gc`, deltas reused, on a copy. */
async function gcSeconds(folder: string, source: string): Promise<number> {
  const copy = join(folder, 'gc.git')
  await cp(source, copy, { recursive: true })
  const { stderr } = await run('/usr/bin/time', ['-f', '%U %S', 'git', 'gc', '-q'], { cwd: copy, env: gitEnvironment() })
  const [user, system] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number) as [number, number]
  return user + system
}
