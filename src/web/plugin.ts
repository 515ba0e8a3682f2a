import { fastifyMultipart } from '@fastify/multipart'
import type { FastifyPluginAsync } from 'fastify'
import type { FormTokens } from '../auth/csrf.js'
import type { Sessions } from '../auth/sessions.js'
import type { Repos } from '../repos/repos.js'
import type { Uploads } from '../repos/uploads.js'
import { sendErrorPage } from './errors.js'
import { createFormGuard } from './form-guard.js'
import { signInRoutes } from './sign-in.js'
import { stylesheet, stylesheetName } from './stylesheet.js'
import { uploadRoutes } from './upload.js'

/** What pages stand on. */
export interface WebOptions {
  readonly repos: Pick<Repos, 'readRefs'>
  readonly sessions: Sessions
  readonly formTokens: FormTokens
  readonly uploads: Uploads
}

/** Pages for browsers, without any script. */
export const web =
  ({ repos, sessions, formTokens, uploads }: WebOptions): FastifyPluginAsync =>
  async (app) => {
    app.setErrorHandler(sendErrorPage)
    app.removeAllContentTypeParsers()
    app.addContentTypeParser<string>('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, text, done) => {
      done(null, new URLSearchParams(text))
    })
    await app.register(fastifyMultipart)
    const guard = createFormGuard(formTokens)
    signInRoutes(app, { sessions, guard })
    uploadRoutes(app, { repos, uploads, guard })
    app.get(`/assets/${stylesheetName}`, { config: { access: 'public', page: true } }, async (_request, reply) =>
      reply
        .headers({ 'cache-control': 'public, max-age=31536000, immutable', 'cross-origin-resource-policy': 'same-origin' })
        .type('text/css; charset=utf-8')
        .send(stylesheet),
    )
  }
