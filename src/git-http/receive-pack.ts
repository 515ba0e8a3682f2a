import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ProtocolError } from '../../protocol/errors.js'
import type { ReceivePort } from '../../protocol/ports.js'
import { receivePack } from '../../protocol/receive-pack.js'
import { HubError } from '../errors.js'
import { readBody } from '../http/body-limit.js'
import { answerTo } from '../http/error-map.js'
import { logFailure } from '../http/log-failure.js'
import { refuseWhenReadOnly, repoContext, signedInActor } from '../http/request-context.js'
import { sendStream } from '../http/send-stream.js'
import { checkContentType, gitResult, logSent } from './exchange.js'
import type { GitRoutes } from './git-routes.js'

/** Pkt-lines in front of a pack: far more than there ever are. */
const commandBytes = 64 * 1024 * 1024

/** `POST git-receive-pack`: a push. While nothing may be changed it is refused in its report, and not by a status. */
export function receivePackRoute(app: FastifyInstance, { repos, clock, maxPackBytes, repoType, prefix }: GitRoutes): void {
  app.post(`${prefix}/git-receive-pack`, { config: { repoType, access: 'content.write', writes: false } }, async (request, reply) => {
    const startedAt = performance.now()
    const { repo, clientGone, mayStill } = repoContext(request)
    checkContentType(request, 'git-receive-pack')
    const answer = receivePack({
      ...clock,
      signal: clientGone,
      body: readBody(request.raw, { maxBytes: maxPackBytes + commandBytes }),
      port: refusingInReport(
        request,
        repos.openReceive(repo, { actor: signedInActor(request), authorise: () => mayStill('content.write'), signal: clientGone }),
      ),
      slices: repos.slices(clientGone),
    })
    gitResult(reply, 'git-receive-pack')
    logSent(request, await sendStream(reply, answer), startedAt, {}, 'push answered')
    return reply
  })
}

/** What is no fault of the push is said in the words of a report: git would show no more of a status than its number. The log hears all of it. */
function refusingInReport(request: FastifyRequest, port: ReceivePort): ReceivePort {
  const refuse = (error: unknown): never => {
    if (!(error instanceof HubError) || (error.code !== 'storage-full' && error.code !== 'read-only')) throw error
    const answer = answerTo(error)
    logFailure(request, error, answer)
    throw new ProtocolError('too-large', answer.message, { cause: error })
  }
  return {
    stage: async (pack, push, options) => {
      try {
        refuseWhenReadOnly(request)
        return await port.stage(pack, push, options)
      } catch (error) {
        return refuse(error)
      }
    },
    apply: (staged, push, say) => port.apply(staged, push, say).catch(refuse),
  }
}
