import type { FastifyInstance } from 'fastify'
import { HubError } from '../errors.js'

/**
 * Refuses a request that names two hosts. Node takes the first; a proxy in front of us may have decided on the other.
 * Spec: RFC 9112 section 3.2.
 */
export function refuseTwoHosts(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { rawHeaders } = request.raw
    let hosts = 0
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i]!
      if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
    }
    done(hosts > 1 ? new HubError('bad-request', 'more than one Host header') : undefined)
  })
}
