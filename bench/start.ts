import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, projectRoot } from '../test/support/hub.js'
import { atMost, type Bench, type Row } from './stage.js'
import { median, secondsText } from './timing.js'

const rounds = 3

/** `npm start`, from the command to the first answer that says ready: with no data there, and again on the same data. */
export async function* startTimes({ folder }: Pick<Bench, 'folder'>): AsyncGenerator<Row> {
  const first: number[] = []
  const later: number[] = []
  for (let round = 0; round < rounds; round++) {
    const data = join(folder, `start${round}`)
    first.push(await secondsToReady(data))
    later.push(await secondsToReady(data))
  }
  yield atMost('npm start to the first answer, of 6 s: the first time', median(first) / 6, 1, secondsText(first))
  yield atMost('  later, of 2 s', median(later) / 2, 1, secondsText(later))
}

async function secondsToReady(data: string): Promise<number> {
  const port = await freePort()
  const started = performance.now()
  const npm = spawn('npm', ['start'], {
    cwd: projectRoot,
    env: { PATH: process.env['PATH']!, HOME: process.env['HOME']!, CAIRN_DATA: data, CAIRN_PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exited = once(npm, 'exit')
  try {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
      await answer?.arrayBuffer()
      if (answer?.ok) return (performance.now() - started) / 1000
      if (npm.exitCode !== null) throw new Error(`npm start ended with ${npm.exitCode}`)
      await delay(10)
    }
  } finally {
    npm.kill('SIGTERM')
    await exited
  }
}
