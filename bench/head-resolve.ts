import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../test/support/hub.js'
import { git } from '../test/support/git.js'
import { startTestServer } from '../test/support/postgres.js'
import { headLoad, type HeadLoad } from './head-load.js'
import { makeSmallRepo } from './make-small-repo.js'
import { atLeast, type Bench, type Row } from './stage.js'
import { connections } from './wrk.js'

const seconds = 4
const rounds = 3

/** `HEAD resolve` of one file over and over, beside a bare Fastify route with the same headers and one named SELECT. */
export async function* headResolveBench({ folder, hub }: Pick<Bench, 'folder' | 'hub'>): AsyncGenerator<Row> {
  const source = join(folder, 'head.git')
  await makeSmallRepo(source)
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/head', empty: true })
  await git(['push', '-q', '--mirror', hub.remote('admin/head')], { cwd: source })
  const path = '/admin/head/resolve/main/file7.bin'
  const { headers } = await fetch(hub.url + path, { method: 'HEAD' })
  const copied = Object.fromEntries([...headers].filter(([name]) => !['date', 'connection', 'keep-alive'].includes(name)))
  const bare = await startBareServer(copied)
  try {
    const ours: HeadLoad[] = []
    const theirs: HeadLoad[] = []
    await headLoad(hub.url + path, connections, 1)
    await headLoad(bare.url + path, connections, 1)
    // In turns, so that the machine's moods weigh on both.
    for (let round = 0; round < rounds; round++) {
      ours.push(await headLoad(hub.url + path, connections, seconds))
      theirs.push(await headLoad(bare.url + path, connections, seconds))
    }
    const [a, b] = [middle(ours), middle(theirs)]
    const figures = `${a.perSecond.toFixed(0)}/s p50 ${a.p50Ms.toFixed(2)} ms, bare ${b.perSecond.toFixed(0)}/s p50 ${b.p50Ms.toFixed(2)} ms`
    yield atLeast('HEAD resolve, warm, 8 connections', a.perSecond / b.perSecond, 0.5, figures)
  } finally {
    await bare.stop()
  }
}

const middle = (loads: readonly HeadLoad[]): HeadLoad => loads.toSorted((a, b) => a.perSecond - b.perSecond)[Math.floor(loads.length / 2)]!

async function startBareServer(headers: Readonly<Record<string, string>>): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const database = await startTestServer()
  const port = await freePort()
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bare-server.js')], {
    env: { ...process.env, BARE_PORT: String(port), BARE_DATABASE: database.url, BARE_HEADERS: JSON.stringify(headers) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exited = once(child, 'exit')
  const url = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(url).then(
      () => true,
      () => false,
    )
  for (let i = 0; i < 200 && child.exitCode === null && !(await answers()); i++) await delay(50)
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await exited
      await database.stop()
    },
  }
}
