import type { FastifyInstance } from 'fastify'
import { redactUrl } from '../http/redact-url.js'

/** One line for every answer, written when its connection is done with it: streams are counted to their end. */
export function registerAccessLog(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const startedAt = performance.now()
    reply.raw.once('close', () => {
      const { actor } = request.hub ?? {}
      const fields = {
        method: request.method,
        url: redactUrl(request.url),
        status: reply.raw.statusCode,
        ms: Math.round(performance.now() - startedAt),
        ip: request.ip,
        agent: request.headers['user-agent'],
        ...(actor && actor.kind !== 'anonymous' ? { actor: actor.name } : {}),
        ...(reply.raw.writableFinished ? {} : { cut: true }),
      }
      // Probes come every few seconds for ever.
      if (request.routeOptions?.config?.bare) request.log.debug(fields, 'answered')
      else request.log.info(fields, 'answered')
    })
    done()
  })
}
