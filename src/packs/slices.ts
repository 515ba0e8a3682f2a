import { ProtocolError } from '../../protocol/errors.js'
import type { Slices } from '../../protocol/ports.js'

export interface SliceOptions {
  /** How long one piece of work may hold the thread, milliseconds. */
  readonly sliceMs: number
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
}

/**
 * Shares the main thread out: work without an await in it asks `pause()` now and then, and steps aside once its slice is over.
 * Keepalives, health checks and everybody else's requests run in between.
 */
export function createSlices({ sliceMs, signal }: SliceOptions): Slices {
  let startedAt = performance.now()
  return {
    signal,
    pause() {
      if (signal.aborted) throw new ProtocolError('cancelled', 'the client left')
      if (performance.now() - startedAt < sliceMs) return undefined
      return new Promise((resolve) => {
        setImmediate(() => {
          startedAt = performance.now()
          resolve()
        })
      })
    },
  }
}
