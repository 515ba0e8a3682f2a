import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Instruments } from './instruments.js'

/** Seconds. From a page that is ready to a clone that takes minutes. */
const buckets = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600]
/** Clients may send any word. */
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

export interface RequestMetrics {
  /** Counts a request until its connection is done with it. */
  watch(request: FastifyRequest, reply: FastifyReply): void
  /** Counts what goes over the connections of a server. */
  watchServer(server: Server): void
}

export function createRequestMetrics({ histogram, gauge, total }: Instruments): RequestMetrics {
  const observe = histogram('http_request_duration_seconds', 'Requests, from their head to the last byte of the answer', {
    labels: ['method', 'route', 'status'],
    buckets,
  })
  let inFlight = 0
  gauge('http_requests_in_flight', 'Requests that are not answered to the end', () => inFlight)

  const open = new Set<Socket>()
  const closed = { received: 0, sent: 0 }
  const sumOf = (read: (socket: Socket) => number): number => [...open].reduce((sum, socket) => sum + read(socket), 0)
  gauge('http_connections', 'Open connections', () => open.size)
  total('http_received_bytes_total', 'Bytes that came in over HTTP', () => closed.received + sumOf(({ bytesRead }) => bytesRead))
  total('http_sent_bytes_total', 'Bytes that went out over HTTP', () => closed.sent + sumOf(({ bytesWritten }) => bytesWritten))

  return {
    watch(request, { raw }) {
      const startedAt = performance.now()
      inFlight += 1
      raw.once('close', () => {
        inFlight -= 1
        observe(
          {
            method: methods.has(request.method) ? request.method : 'other',
            // The pattern, never the address: there are as many patterns as routes.
            route: request.routeOptions.url ?? 'unknown',
            status: raw.writableFinished ? `${Math.floor(raw.statusCode / 100)}xx` : 'cut',
          },
          (performance.now() - startedAt) / 1000,
        )
      })
    },
    watchServer(server) {
      server.on('connection', (socket: Socket) => {
        open.add(socket)
        socket.once('close', () => {
          open.delete(socket)
          closed.received += socket.bytesRead
          closed.sent += socket.bytesWritten
        })
      })
    },
  }
}

/** To be called before any hook that may refuse a request. */
export function registerRequestMetrics(app: FastifyInstance, requests: RequestMetrics): void {
  requests.watchServer(app.server)
  app.addHook('onRequest', (request, reply, done) => {
    requests.watch(request, reply)
    done()
  })
}
