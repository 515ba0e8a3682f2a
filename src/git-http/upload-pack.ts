import type { FastifyInstance } from 'fastify'
import { ProtocolError } from '../../protocol/errors.js'
import { wireLimits } from '../../protocol/limits.js'
import { errPkt } from '../../protocol/pkt-line.js'
import { uploadPack } from '../../protocol/upload-pack.js'
import { readBody } from '../http/body-limit.js'
import { repoContext } from '../http/request-context.js'
import { sendEarly } from '../http/early-answer.js'
import { sendStream } from '../http/send-stream.js'
import { offerBundles } from './bundles.js'
import { checkContentType, gitResult, logSent } from './exchange.js'
import { protocolVersion } from './git-protocol.js'
import type { GitRoutes } from './git-routes.js'

/** `POST git-upload-pack`: refs, negotiation and pack of a fetch. */
export function uploadPackRoute(app: FastifyInstance, { repos, clock, repoType, prefix, links }: GitRoutes): void {
  app.post(`${prefix}/git-upload-pack`, { config: { repoType, access: 'content.read', writes: false } }, async (request, reply) => {
    const startedAt = performance.now()
    const { repo, actor, clientGone } = repoContext(request)
    const caller = actor.kind === 'anonymous' ? `address ${request.ip}` : `user ${actor.id}`
    checkContentType(request, 'git-upload-pack')
    const version = protocolVersion(request.headers['git-protocol'])
    const answer = uploadPack({
      version,
      ...clock,
      signal: clientGone,
      body: readBody(request.raw, { maxBytes: 2 * wireLimits.requestBytes }), // pkt-lines are counted where they are read, with a better answer
      open: () => repos.openFetch(repo, caller),
      slices: repos.slices(clientGone),
      ...(links ? { bundles: () => offerBundles(request, { repos, links }) } : {}),
    })
    gitResult(reply, 'git-upload-pack')
    try {
      logSent(request, await sendStream(reply, answer, { of: repo }), startedAt, { version }, 'fetch served')
      return reply
    } catch (error) {
      // Bodies of statuses are never shown to git's user here; this line is.
      if (!(error instanceof ProtocolError) || error.code === 'corrupt' || error.code === 'cancelled') throw error
      return sendEarly(request, reply, errPkt(error.message).toString('latin1'))
    }
  })
}
