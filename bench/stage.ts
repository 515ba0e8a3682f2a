import { join } from 'node:path'
import { startHub, type Hub } from '../test/support/hub.js'
import { startPeer, type Peer } from './peer.js'

export interface Bench {
  readonly folder: string
  readonly hub: Hub
  readonly peer: Peer
  /** Where `readProbe` reads. */
  readonly probeFile: string
  stop(): Promise<void>
}

export interface Row {
  readonly what: string
  readonly ratio: string
  readonly goal: string
  readonly ok: boolean
  readonly figures: string
}

/** Both servers, side by side. */
export async function startBench(folder: string): Promise<Bench> {
  const closers: (() => unknown)[] = []
  const probeFile = join(folder, 'probe.json')
  const hub = await startHub(
    { teardown: (work) => void closers.push(work) },
    { env: { CAIRN_TEST_PROBE: probeFile }, nodeArgs: ['--import', join(import.meta.dirname, 'probe.js')] },
  )
  const peer = await startPeer(join(folder, 'peer'))
  return {
    folder,
    hub,
    peer,
    probeFile,
    async stop() {
      await peer.stop()
      for (const close of closers.toReversed()) await close()
    },
  }
}

export function atLeast(what: string, ratio: number, goal: number, figures: string): Row {
  return { what, ratio: `${ratio.toFixed(2)} ×`, goal: `≥ ${goal} ×`, ok: ratio >= goal, figures }
}

export function atMost(what: string, ratio: number, goal: number, figures: string): Row {
  return { what, ratio: `${ratio.toFixed(2)} ×`, goal: `≤ ${goal} ×`, ok: ratio <= goal, figures }
}
