import type { FastifyInstance } from 'fastify'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

export interface ShutdownOptions {
  readonly app: FastifyInstance
  /** What is left to close once no request is open: the database last. */
  readonly closeServices: () => Promise<void>
  /** How long requests may go on. */
  readonly closeGraceMs: number
  readonly log: (fields: object, phrase: string) => void
}

export interface Shutdown {
  /** Stops. Called again, it hurries. Resolves when all is closed. */
  stop(): Promise<void>
  readonly stopping: boolean
}

const idleSweepMs = 200

/**
 * Stops in order: no new connections, open requests end by themselves within the grace time or are cut off, then everything below them.
 */
export function createShutdown({ app, closeServices, closeGraceMs, log }: ShutdownOptions): Shutdown {
  let stopped: Promise<void> | undefined
  // To the server these are not idle, and it would wait for them.
  const silent = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  app.server.on('request', ({ socket }: IncomingMessage) => silent.delete(socket))
  const cut = () => app.server.closeAllConnections()

  async function stopOnce(): Promise<void> {
    log({ closeGraceMs }, 'stopping')
    const grace = setTimeout(() => {
      log({}, 'cutting off what is still open')
      cut()
    }, closeGraceMs)
    // A connection that becomes idle later stays open until somebody closes it.
    const sweep = setInterval(() => {
      app.server.closeIdleConnections()
      for (const socket of silent) socket.destroy()
    }, idleSweepMs)
    try {
      await app.close()
    } finally {
      clearTimeout(grace)
      clearInterval(sweep)
    }
    await closeServices()
    log({}, 'stopped')
  }

  return {
    get stopping() {
      return stopped !== undefined
    },
    stop() {
      if (stopped) cut()
      stopped ??= stopOnce()
      return stopped
    },
  }
}

/**
 * SIGINT and SIGTERM stop the hub; a second one hurries it. If closing hangs all the same, the process ends after `boundMs`.
 * Returns what takes the handlers off again.
 */
export function stopOnSignals(
  shutdown: Shutdown,
  { boundMs, onStopped }: { readonly boundMs: number; readonly onStopped: (error: unknown) => void },
): () => void {
  const onSignal = () => {
    if (!shutdown.stopping) setTimeout(() => onStopped(new Error(`the hub did not stop within ${boundMs} ms`)), boundMs).unref()
    shutdown.stop().then(() => onStopped(undefined), onStopped)
  }
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) process.on(signal, onSignal)
  return () => {
    for (const signal of signals) process.off(signal, onSignal)
  }
}
