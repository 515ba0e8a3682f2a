import { collectDefaultMetrics, Registry } from 'prom-client'
import { agent } from '../../../protocol/capabilities.js'
import { createInstruments, type Instruments } from './instruments.js'
import { createRequestMetrics, type RequestMetrics } from './request-metrics.js'

/** Figures of one hub, in a registry of its own. No figure names a repository or a person. */
export interface Metrics {
  readonly instruments: Instruments
  readonly requests: RequestMetrics
  /** Adds the process itself: CPU, memory, garbage collection, delay of the event loop. Once in a process, for it never ends. */
  addProcess(): void
  /** All of it as text, and the type of that text. Spec: Prometheus exposition format 0.0.4. */
  expose(): Promise<{ readonly type: string; readonly text: string }>
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  const instruments = createInstruments(registry)
  const [, version = ''] = agent.split('/')
  instruments.gauges('build_info', 'The release that runs; the value is always 1', 'version', () => ({ [version]: 1 }))
  return {
    instruments,
    requests: createRequestMetrics(instruments),
    addProcess: () => collectDefaultMetrics({ register: registry, prefix: 'cairn_' }),
    expose: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  }
}
