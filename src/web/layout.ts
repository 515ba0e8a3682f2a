import type { FastifyReply, FastifyRequest } from 'fastify'
import { sendEarly } from '../http/early-answer.js'
import { html, type Html } from './html.js'
import { stylesheetName } from './stylesheet.js'
import type { Urls } from './urls.js'

/** Who is signed in, and what his sign-out button sends along. */
export interface Visitor {
  readonly name: string
  readonly formToken: string
}

export interface Page {
  readonly title: string
  readonly body: Html
  readonly urls: Urls
  /** Undefined: the page does not say. */
  readonly visitor?: Visitor | 'nobody' | undefined
}

/** Nothing but our own style sheet and our own forms, in nobody's frame. */
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

export const pageHeaders = {
  'content-security-policy': policy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  // Not `no-referrer`: with that browsers leave out where a form comes from, and we ask for it.
  'referrer-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
} as const

/** The whole document. */
export const renderPage = ({ title, body, urls, visitor }: Page): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title} · Cairn</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${urls.stylesheet(stylesheetName)}">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
<a class="brand" href="${urls.signIn()}">Cairn</a>
${visitor === 'nobody' ? html`<p>Not signed in</p>` : visitor && signedInAs(visitor, urls)}
</header>
<main id="content">
${body}
</main>
</body>
</html>
`.markup

const signedInAs = ({ name, formToken }: Visitor, urls: Urls): Html => html`<form method="post" action="${urls.signOut()}">
<input type="hidden" name="csrf" value="${formToken}">
<p>Signed in as <bdi>${name}</bdi> · <button class="plain">Sign out</button></p>
</form>`

/** Answers with a page, whether or not the request's body was read. The status is the reply's. */
export const sendPage = (request: FastifyRequest, reply: FastifyReply, page: Page): FastifyReply =>
  sendEarly(request, reply.headers(pageHeaders).type('text/html; charset=utf-8'), renderPage(page))
