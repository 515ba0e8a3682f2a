import type { FastifyRequest } from 'fastify'
import type { ErrorAnswer } from './error-map.js'
import { redactUrl } from './redact-url.js'

/** From 500 up the client hears nothing of the cause, and the log hears everything. */
export function logFailure(request: FastifyRequest, error: unknown, { status }: ErrorAnswer): void {
  if (status === 501) return
  if (status >= 500) request.log.error({ err: error, method: request.method, url: redactUrl(request.url) }, 'request failed')
  else request.log.debug({ err: error, method: request.method, url: redactUrl(request.url), status }, 'request refused')
}
