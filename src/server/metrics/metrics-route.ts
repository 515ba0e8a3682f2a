import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { createHash, timingSafeEqual } from 'node:crypto'
import { BlockList, isIPv6 } from 'node:net'
import { isLoopbackHost } from '../../http/base-url.js'
import type { Metrics } from './metrics.js'

export interface MetricsRouteOptions {
  readonly metrics: Pick<Metrics, 'expose'>
  /** What readers send as `Authorization: Bearer …`. Undefined: only who is on this machine reads. */
  readonly token: string | undefined
  /** Something else may speak to us for others, from this machine too: without a token nobody reads. */
  readonly isFronted: boolean
}

/** `GET /metrics`, for Prometheus. Who may not read it is answered as if it were not there. */
export const metricsRoute =
  ({ metrics, token, isFronted }: MetricsRouteOptions): FastifyPluginAsync =>
  async (app) => {
    const mayRead = token === undefined ? (request: FastifyRequest) => !isFronted && isFromThisMachine(request) : bearerOf(token)
    app.get('/metrics', { config: { access: 'public', bare: true } }, async (request, reply) => {
      if (!mayRead(request)) {
        reply.callNotFound()
        return reply
      }
      const { type, text } = await metrics.expose()
      return reply.header('content-type', type).header('cache-control', 'no-store').send(text)
    })
  }

/** The digests are compared: they have one length, whatever was sent. */
function bearerOf(token: string): (request: FastifyRequest) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  const expected = digest(token)
  return ({ headers }) => {
    const [, sent] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
    return sent !== undefined && timingSafeEqual(digest(sent), expected)
  }
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** A proxy's request comes from its machine, but says so; a page that borrows our address still says its own name. */
function isFromThisMachine({ raw: { socket, headers } }: FastifyRequest): boolean {
  const { remoteAddress } = socket
  if (remoteAddress === undefined || !loopback.check(remoteAddress, isIPv6(remoteAddress) ? 'ipv6' : 'ipv4')) return false
  if (!isLoopbackHost(headers.host ?? '')) return false
  return !Object.keys(headers).some((name) => /^(forwarded|via|x-real-ip|x-forwarded-.*)$/.test(name))
}
