import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { randomBytes } from 'node:crypto'
import { sessionSeconds, type Sessions } from '../auth/sessions.js'
import { readCookie, setCookie } from '../http/cookies.js'
import { requestHub } from '../http/request-context.js'
import type { FormGuard } from './form-guard.js'
import { html } from './html.js'
import { pageHeaders, sendPage } from './layout.js'
import { createUrls, localPath } from './urls.js'

export interface SignInOptions {
  readonly sessions: Sessions
  readonly guard: FormGuard
}

/** How long the form may stand open. */
const formSeconds = 60 * 60
const maxFormBytes = 16 * 1024
const config = { access: 'public', page: true } as const

/** `GET|POST /sign-in`: a token, pasted once, becomes a session. `POST /sign-out` ends it. */
export function signInRoutes(app: FastifyInstance, { sessions, guard }: SignInOptions): void {
  app.get<{ Querystring: { next?: string | readonly string[] } }>('/sign-in', { config }, async (request, reply) => {
    const { next } = request.query
    return showForm(request, reply, { next: localPath(typeof next === 'string' ? next : undefined), guard })
  })

  app.post<{ Body: URLSearchParams }>('/sign-in', { config, bodyLimit: maxFormBytes }, async (request, reply) => {
    const { baseUrl, actor } = requestHub(request)
    guard.checkSender(request)
    const fields = fieldsOf(request)
    await guard.checkBrowserToken(readCookie(request.headers.cookie, baseUrl, 'cairn-sign-in'), fields.get('csrf') ?? undefined)
    const next = localPath(fields.get('next') ?? undefined)
    const opened = await sessions.open(fields.get('token') ?? '')
    if (!opened) {
      return showForm(request, reply.code(403), { next, guard, complaint: 'That is no token of this hub, or it has expired or was revoked.' })
    }
    // Nobody goes on with a session that somebody else may know.
    const before = readCookie(request.headers.cookie, baseUrl, 'cairn-session')
    if (before !== undefined) await sessions.end(before, actor.kind === 'anonymous' ? null : actor.id)
    request.log.info({ actor: opened.actor.name }, 'signed in')
    const urls = createUrls(baseUrl)
    return reply
      .headers(pageHeaders)
      .header('set-cookie', [setCookie(baseUrl, 'cairn-session', opened.id, sessionSeconds), setCookie(baseUrl, 'cairn-sign-in', '', 0)])
      .redirect(next === undefined ? urls.signIn() : urls.local(next), 303)
  })

  app.post<{ Body: URLSearchParams }>('/sign-out', { config, bodyLimit: maxFormBytes }, async (request, reply) => {
    const { baseUrl, actor, session } = requestHub(request)
    guard.checkSender(request)
    if (session) await guard.checkSessionToken(request, fieldsOf(request).get('csrf') ?? undefined)
    const id = readCookie(request.headers.cookie, baseUrl, 'cairn-session')
    if (id !== undefined) await sessions.end(id, actor.kind === 'anonymous' ? null : actor.id)
    return reply
      .headers(pageHeaders)
      .header('set-cookie', setCookie(baseUrl, 'cairn-session', '', 0))
      .redirect(createUrls(baseUrl).signIn(), 303)
  })
}

/** A form without a body has no fields. */
const fieldsOf = ({ body }: FastifyRequest): URLSearchParams => (body instanceof URLSearchParams ? body : new URLSearchParams())

interface SignInForm {
  readonly next: string | undefined
  readonly guard: FormGuard
  readonly complaint?: string
}

/** What a browser is known by before anybody is signed in. */
const browserCookieShape = /^[A-Za-z0-9_-]{43}$/

async function showForm(request: FastifyRequest, reply: FastifyReply, { next, guard, complaint }: SignInForm): Promise<FastifyReply> {
  const { baseUrl } = requestHub(request)
  const urls = createUrls(baseUrl)
  const known = readCookie(request.headers.cookie, baseUrl, 'cairn-sign-in')
  // The same in all its tabs.
  const cookie = known !== undefined && browserCookieShape.test(known) ? known : randomBytes(32).toString('base64url')
  const visitor = await guard.visitor(request)
  const body = html`<h1>Sign in</h1>
${
  visitor === 'nobody'
    ? html`<p class="lead">With an access token. It is asked for once, and this browser stays signed in for ${sessionSeconds / 3600} hours.</p>`
    : html`<p class="lead">You are signed in as <bdi>${visitor.name}</bdi>. The page to upload files is at <code>/namespace/name/upload</code>.</p>`
}
${complaint !== undefined && html`<p class="notice bad" role="alert">${complaint}</p>`}
<form class="card" method="post" action="${urls.signIn()}">
<input type="hidden" name="csrf" value="${await guard.browserToken(cookie)}">
${next !== undefined && html`<input type="hidden" name="next" value="${next}">`}
<input name="username" autocomplete="username" value="token" hidden>
<div class="field">
<label for="token">Access token</label>
<input id="token" name="token" type="password" required autocomplete="current-password" spellcheck="false" aria-describedby="token-hint"${complaint !== undefined && html` aria-invalid="true"`}>
<p class="hint" id="token-hint">It begins with <code>hf_</code>. To upload files it must be one that may write.</p>
</div>
<button>Sign in</button>
</form>`
  return sendPage(request, reply.header('set-cookie', setCookie(baseUrl, 'cairn-sign-in', cookie, formSeconds)), {
    title: 'Sign in',
    body,
    urls,
    visitor,
  })
}
