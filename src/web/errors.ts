import type { FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { HubError } from '../errors.js'
import { setErrorHeaders } from '../http/answer-headers.js'
import { answerTo, type ErrorAnswer } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'
import { html, type Html } from './html.js'
import { pageHeaders, sendPage } from './layout.js'
import { createUrls, localPath, type Urls } from './urls.js'

/**
 * A refusal as a page. Who is not signed in and asks for something that all may see is led to the sign-in page; what is private and what is
 * not there are the same page.
 */
export function sendErrorPage(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = answerTo(error)
  logFailure(request, error, answer)
  const urls = createUrls(baseUrlOf(request))
  const signIn = urls.signIn(localPath(request.method === 'GET' ? request.url : undefined))
  if (error instanceof HubError && error.code === 'sign-in-required') {
    if (error.details['subject'] === 'repository') return refuse(request, reply, urls, notThere, signIn)
    if (request.method === 'GET') return reply.headers(pageHeaders).redirect(signIn, 303)
    return refuse(request, reply, urls, signedOut, signIn)
  }
  if (answer.status === 404) return refuse(request, reply, urls, { ...notThere, hubCode: answer.hubCode }, signIn)
  return refuse(request, reply, urls, answer, signIn)
}

const notThere: ErrorAnswer = {
  status: 404,
  message: 'There is nothing here, or it is private and you may not see it.',
  hubCode: 'RepoNotFound',
  url: undefined,
}
// Not 401: browsers answer the challenge that goes with it by a dialogue of their own.
const signedOut: ErrorAnswer = { status: 403, message: 'You are not signed in any more, so nothing was done.', hubCode: undefined, url: undefined }

function refuse(request: FastifyRequest, reply: FastifyReply, urls: Urls, answer: ErrorAnswer, signIn: string): FastifyReply {
  setErrorHeaders(reply, answer)
  return sendPage(request, reply, { title: titleOf(answer.status), urls, body: errorBody(answer, signIn) })
}

const errorBody = ({ status, message }: ErrorAnswer, signIn: string): Html => html`<h1>${titleOf(status)}</h1>
<p class="lead">${message}</p>
${status < 500 && html`<p><a href="${signIn}">Sign in</a>, or as somebody else</p>`}`

const titleOf = (status: number): string => (status === 404 ? 'Not found' : (STATUS_CODES[status] ?? `Status ${status}`))

/** Refused requests have no context, and those with a Host that is not ours no address either. */
function baseUrlOf(request: FastifyRequest): string {
  try {
    return request.hub?.baseUrl ?? request.server.accessPorts.baseUrl(request)
  } catch {
    return 'http://localhost'
  }
}
