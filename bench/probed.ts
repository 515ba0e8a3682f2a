import { readFile, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Hub } from '../test/support/hub.js'

export interface Reading {
  readonly p99Ms: number
  readonly maxMs: number
  readonly cpuSeconds: number
  readonly rss: number
  readonly maxRss: number
}

/** What the hub's process did since the last reading. */
export async function readProbe(hub: Hub, file: string): Promise<Reading> {
  await rm(file, { force: true })
  hub.child.kill('SIGUSR2')
  for (;;) {
    await delay(20)
    const text = await readFile(file, 'utf8').catch(() => undefined)
    if (text !== undefined) return JSON.parse(text) as Reading
  }
}
