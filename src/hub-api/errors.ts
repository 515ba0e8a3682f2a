import type { FastifyReply, FastifyRequest } from 'fastify'
import { setErrorHeaders } from '../http/answer-headers.js'
import { sendEarly } from '../http/early-answer.js'
import { answerTo } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'

/** `{"error": …}` and, for what exists already, where. Always an object: other JSON crashes clients. */
export function sendHubError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = answerTo(error)
  logFailure(request, error, answer)
  setErrorHeaders(reply, answer)
  const { message, url } = answer
  return sendEarly(request, reply.type('application/json; charset=utf-8'), JSON.stringify({ error: message, ...(url === undefined ? {} : { url }) }))
}
