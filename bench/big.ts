import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { git, gitEnvironment } from '../test/support/git.js'
import { makeBigRepo } from './make-big-repo.js'
import { readProbe } from './probed.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, pairText, timed } from './timing.js'
import { fetchBody, gitCost } from './upload-pack.js'

const run = promisify(execFile)
const commits = 30_000
const MB = 1e6

/** One big history in and out. */
export async function* bigBench({ folder, hub, peer, probeFile }: Bench): AsyncGenerator<Row> {
  const source = join(folder, 'big.git')
  await makeBigRepo(source, commits)
  const objects = Number((await git(['count-objects', '-v'], { cwd: source })).stdout.toString().match(/in-pack: (\d+)/)?.[1])
  const tip = (await git(['rev-parse', 'main'], { cwd: source })).stdout.toString().trim()
  const pack = join(folder, 'big.pack')
  const body = join(folder, 'big.push')
  await writePack(source, tip, pack, body)
  const { size } = await stat(pack)
  const what = `${objects} objects, ${(size / MB).toFixed(0)} MB`

  // In turns: the recorded body by curl, and what C git itself needs to index the same pack.
  // The first round warms both up and does not count.
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < 6; round++) {
    await makeRepo(`recorded${round}`)
    const sent = await timed(() => post(`${hub.url}/admin/recorded${round}`, hub.token, body))
    if (!sent.result.includes('unpack ok')) throw new Error(`the push was answered: ${sent.result}`)
    ours.push(sent.seconds)
    const probe = join(folder, 'probe.git')
    await git(['init', '-q', '--bare', probe])
    theirs.push((await timed(() => indexPack(probe, pack))).seconds)
    await rm(probe, { recursive: true })
  }
  ours.shift()
  theirs.shift()
  const ingest = await readProbe(hub, probeFile)
  yield atMost(`push of ${what}, recorded, against index-pack --strict`, median(ours) / median(theirs), 1, pairText(ours, theirs))

  const pushOurs: number[] = []
  const pushTheirs: number[] = []
  for (let round = 0; round < 3; round++) {
    await makeRepo(`pushed${round}`)
    pushOurs.push((await timed(() => git(['push', '-q', hub.remote(`admin/pushed${round}`), 'main'], { cwd: source }))).seconds)
    const target = join(peer.root, `pushed${round}.git`)
    await git(['init', '-q', '--bare', target])
    await git(['config', 'http.receivepack', 'true'], { cwd: target })
    pushTheirs.push((await timed(() => git(['push', '-q', `${peer.url}/pushed${round}.git`, 'main'], { cwd: source }))).seconds)
  }
  yield atMost('the same as a git push, against http-backend', median(pushOurs) / median(pushTheirs), 0.8, pairText(pushOurs, pushTheirs))

  const cloneOurs: number[] = []
  const cloneTheirs: number[] = []
  for (let round = 0; round < 6; round++) {
    await readProbe(hub, probeFile)
    await cloneAway(join(folder, 'clone'), hub.remote('admin/pushed0'))
    cloneOurs.push((await readProbe(hub, probeFile)).cpuSeconds)
    cloneTheirs.push((await gitCost(folder, source, fetchBody([tip]))).cpuSeconds)
  }
  cloneOurs.shift()
  cloneTheirs.shift()
  yield atMost('clone of it, server CPU, against git upload-pack', median(cloneOurs) / median(cloneTheirs), 0.2, pairText(cloneOurs, cloneTheirs))

  yield* loopRows(ingest)
  const started = performance.now()
  for (let i = 0; performance.now() - started < 20_000; i++) {
    await makeRepo(`loop${i}`)
    await post(`${hub.url}/admin/loop${i}`, hub.token, body)
  }
  yield* loopRows(await readProbe(hub, probeFile))

  await hub.restart()
  const fresh = await readProbe(hub, probeFile)
  await makeRepo('memory')
  await git(['push', '-q', hub.remote('admin/memory'), 'main'], { cwd: source })
  await Promise.all([1, 2, 3, 4].map((i) => cloneAway(join(folder, `clone${i}`), hub.remote('admin/memory'))))
  const after = await readProbe(hub, probeFile)
  const growth = (after.maxRss - fresh.rss) / MB
  const budgets = 128 + 256 + 64
  yield atMost('memory growth over one push and four clones at once (of 150 MB + budgets)', growth / (150 + budgets), 1, `${growth.toFixed(0)} MB`)
  yield atMost('memory when idle, of 120 MB', fresh.rss / MB / 120, 1, `${(fresh.rss / MB).toFixed(0)} MB`)

  async function makeRepo(name: string): Promise<void> {
    const { status } = await hub.api('POST', '/api/cairn/repos', { id: `admin/${name}`, empty: true })
    if (status !== 200) throw new Error(`create answered ${status}`)
  }
}

function* loopRows({ p99Ms, maxMs }: { readonly p99Ms: number; readonly maxMs: number }): Generator<Row> {
  yield atMost('event loop delay while packs come in: p99, of 30 ms', p99Ms / 30, 1, `${p99Ms.toFixed(1)} ms`)
  yield atMost('  its maximum, of 200 ms', maxMs / 200, 1, `${maxMs.toFixed(1)} ms`)
}

/** The pack alone, and the whole body of a push that makes `main` of it. */
async function writePack(source: string, tip: string, pack: string, body: string): Promise<void> {
  const file = await open(pack, 'w')
  const child = spawn('git', ['pack-objects', '--revs', '--stdout', '-q', '--delta-base-offset'], {
    cwd: source,
    env: gitEnvironment(),
    stdio: ['pipe', file.fd, 'inherit'],
  })
  child.stdin!.end(`${tip}\n`)
  await once(child, 'exit')
  await file.close()
  const line = `${'0'.repeat(40)} ${tip} refs/heads/main\0 report-status side-band-64k object-format=sha1 agent=git/2.39.5`
  const out = await open(body, 'w')
  await out.write(`${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`)
  for await (const chunk of createReadStream(pack)) await out.write(chunk as Buffer)
  await out.close()
}

async function post(url: string, token: string, body: string): Promise<string> {
  const { stdout } = await run('curl', [
    ...['-sS', '--fail', '-X', 'POST', '-H', 'Content-Type: application/x-git-receive-pack-request', '-H', 'Expect:'],
    ...['-u', `admin:${token}`, '-T', body, `${url}/git-receive-pack`],
  ])
  return stdout
}

async function indexPack(cwd: string, pack: string): Promise<void> {
  const file = await open(pack)
  const child = spawn('git', ['index-pack', '--strict', '--stdin'], { cwd, env: gitEnvironment(), stdio: [file.fd, 'ignore', 'inherit'] })
  const [code] = (await once(child, 'exit')) as [number]
  await file.close()
  if (code !== 0) throw new Error(`index-pack ended with ${code}`)
}

async function cloneAway(to: string, from: string): Promise<void> {
  await git(['clone', '-q', '--bare', from, to])
  await rm(to, { recursive: true })
}
