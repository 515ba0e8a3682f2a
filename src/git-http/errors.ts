import type { FastifyReply, FastifyRequest } from 'fastify'
import { humanLine } from '../../protocol/human-text.js'
import { setErrorHeaders } from '../http/answer-headers.js'
import { sendEarly } from '../http/early-answer.js'
import { answerTo } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'

/** What git asks for on every answer: caches between us have no use for any. */
export const noCache = {
  'cache-control': 'no-cache, max-age=0, must-revalidate',
  pragma: 'no-cache',
  expires: 'Fri, 01 Jan 1980 00:00:00 GMT',
} as const

/** Plain text: on `info/refs` git prints it behind `remote:`, as it is. */
export function sendGitError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = answerTo(error)
  logFailure(request, error, answer)
  setErrorHeaders(reply, answer)
  return sendEarly(request, reply.headers(noCache).type('text/plain; charset=utf-8'), `${humanLine(answer.message)}\n`)
}
