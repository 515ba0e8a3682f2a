import type { FastifyRequest } from 'fastify'
import type { FormTokens } from '../auth/csrf.js'
import { HubError } from '../errors.js'
import { requestHub } from '../http/request-context.js'
import { checkSameOrigin } from '../http/same-origin.js'
import type { Visitor } from './layout.js'

/** Forms of this hub can be sent from its own pages only, by the browser they were given to. */
export interface FormGuard {
  /** To be asked before anything of the body is read. @throws HubError `forbidden` */
  checkSender(request: FastifyRequest): void
  /** The token for forms of the session; undefined: nobody is signed in. */
  sessionToken(request: FastifyRequest): Promise<string | undefined>
  /** @throws HubError `forbidden` when the token is not the session's */
  checkSessionToken(request: FastifyRequest, token: string | undefined): Promise<void>
  /** The same for who is not signed in yet: the cookie stands for the browser. */
  browserToken(cookie: string): Promise<string>
  checkBrowserToken(cookie: string | undefined, token: string | undefined): Promise<void>
  /** For the head of a page. */
  visitor(request: FastifyRequest): Promise<Visitor | 'nobody'>
}

/** Nobody's session is bound to what another kind of cookie is bound to. */
const sessionBinding = (name: string): string => `session ${name}`
const browserBinding = (cookie: string): string => `browser ${cookie}`

const stale = (): HubError =>
  new HubError('forbidden', 'This form is not, or no longer, yours to send, so nothing was done. Open the page again and send it from there.')

export function createFormGuard(tokens: FormTokens): FormGuard {
  const check = async (binding: string | undefined, token: string | undefined): Promise<void> => {
    if (binding === undefined || token === undefined || !(await tokens.verify(binding, token))) throw stale()
  }
  const bindingOf = (request: FastifyRequest): string | undefined => {
    const { session } = requestHub(request)
    return session && sessionBinding(session.name)
  }
  const sessionToken = async (request: FastifyRequest): Promise<string | undefined> => {
    const binding = bindingOf(request)
    return binding === undefined ? undefined : tokens.create(binding)
  }
  return {
    checkSender: (request) => checkSameOrigin(request, requestHub(request).baseUrl),
    sessionToken,
    checkSessionToken: (request, token) => check(bindingOf(request), token),
    browserToken: (cookie) => tokens.create(browserBinding(cookie)),
    checkBrowserToken: (cookie, token) => check(cookie === undefined ? undefined : browserBinding(cookie), token),
    async visitor(request) {
      const { actor } = requestHub(request)
      const formToken = await sessionToken(request)
      return actor.kind === 'anonymous' || formToken === undefined ? 'nobody' : { name: actor.name, formToken }
    },
  }
}
