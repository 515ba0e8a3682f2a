import type { FastifyReply, FastifyRequest } from 'fastify'
import { setErrorHeaders } from '../http/answer-headers.js'
import { sendEarly } from '../http/early-answer.js'
import { answerTo } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'

/** git-lfs prints `message`, and asks for a password on `LFS-Authenticate`. */
export function sendLfsError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = answerTo(error)
  logFailure(request, error, answer)
  setErrorHeaders(reply, answer)
  if (answer.status === 401) reply.header('lfs-authenticate', 'Basic realm="Cairn"')
  const body = JSON.stringify({ message: answer.message, request_id: request.id })
  return sendEarly(request, reply.type('application/vnd.git-lfs+json'), body)
}
