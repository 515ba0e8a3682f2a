import type { FastifyInstance, FastifyReply } from 'fastify'
import { headerText, type ErrorAnswer } from './error-map.js'

const exposedHeaders = [
  'X-Repo-Commit',
  'X-Request-Id',
  'X-Error-Code',
  'X-Error-Message',
  'X-Total-Count',
  'ETag',
  'Link',
  'Accept-Ranges',
  'Content-Range',
  'X-Linked-Size',
  'X-Linked-ETag',
  'X-Xet-Access-Token',
  'X-Xet-Token-Expiration',
  'X-Xet-Refresh-Route',
  'X-Xet-Cas-Url',
  'X-Xet-Hash',
].join(',')

/** Headers of every answer, set at its very start: later hooks do not run for streams. */
export function registerAnswerHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers({ 'x-request-id': request.id, 'access-control-expose-headers': exposedHeaders, 'x-content-type-options': 'nosniff' })
    done()
  })
}

/** Status and headers of a refusal or failure. What stands in the body is the door's. A HEAD has nothing but these. */
export function setErrorHeaders(reply: FastifyReply, { status, message, hubCode, retryAfterSeconds = 5 }: ErrorAnswer): void {
  reply.code(status).header('x-error-message', headerText(message))
  if (hubCode !== undefined) reply.header('x-error-code', hubCode)
  if (status === 401) reply.header('www-authenticate', 'Basic realm="Cairn"')
  if (status === 503) reply.header('retry-after', String(retryAfterSeconds))
}
