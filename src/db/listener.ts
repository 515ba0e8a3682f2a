import { setTimeout as delay } from 'node:timers/promises'
import type { Database, DirectConnection } from './pool.js'
import { sql } from './sql.js'

export interface ListenerOptions {
  readonly db: Pick<Database, 'direct'>
  /** A plain word. */
  readonly channel: string
  readonly onNotification: (payload: string) => void
  /**
   * Called whenever it has begun to listen: what was told before was not heard, and has to be looked up. When it throws, the connection is given up
   * and another is opened.
   */
  readonly onListening: () => Promise<void>
  /** Told when it stops to listen, with the reason, but not when it is closed. */
  readonly onLost: (error: unknown) => void
  /** How often the connection is asked whether it is still there. */
  readonly checkEveryMs?: number
  /** How long an answer to that may take. */
  readonly answerMs?: number
  /** Before the second try to connect; doubled with each, up to half a minute. */
  readonly retryMs?: number
}

export interface Listener {
  /** Whether what is told now is heard. */
  readonly isListening: boolean
  close(): Promise<void>
}

const maxRetryMs = 30_000

/** Listens on a connection of its own, past any pooler, and on another when that breaks or falls silent. */
export function startListener(options: ListenerOptions): Listener {
  const { db, channel, onNotification, onListening, onLost, checkEveryMs = 5_000, answerMs = 10_000, retryMs = 250 } = options
  const closing = new AbortController()
  let isListening = false

  const listen = async (connection: DirectConnection, lost: AbortSignal): Promise<void> => {
    await connection.execute({ text: `LISTEN ${channel}`, values: [] })
    await onListening()
    isListening = true
    const signal = AbortSignal.any([lost, closing.signal])
    for (;;) {
      await delay(checkEveryMs, undefined, { signal, ref: false })
      // A way that swallows everything is found out only by asking; and a pooler may have given the session to somebody else.
      const [found] = await connection.query(sql`SELECT FROM pg_listening_channels() AS l (channel) WHERE channel = ${channel}`)
      if (!found) throw new Error('the connection no longer listens: it is not one to the server itself')
    }
  }

  const listenOnce = async (): Promise<void> => {
    const lost = new AbortController()
    const onEnd = () => lost.abort(new Error('the connection to listen on broke'))
    const connection = await db.direct({ answerMs, onNotification, onEnd })
    try {
      await listen(connection, lost.signal)
    } catch (error) {
      throw lost.signal.aborted ? lost.signal.reason : error
    } finally {
      isListening = false
      await connection.close().catch(() => undefined)
    }
  }

  const run = async (): Promise<void> => {
    for (let tries = 0; !closing.signal.aborted; tries++) {
      const began = performance.now()
      await listenOnce().catch((error: unknown) => {
        if (!closing.signal.aborted) onLost(error)
      })
      // One that has listened for a while is not the one that cannot be had.
      if (performance.now() - began > maxRetryMs) tries = 0
      const waitMs = Math.min(maxRetryMs, retryMs * 2 ** tries) * (0.5 + Math.random() / 2)
      await delay(waitMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined)
    }
  }
  const running = run()

  return {
    get isListening() {
      return isListening
    },
    async close() {
      closing.abort()
      await running
    },
  }
}
