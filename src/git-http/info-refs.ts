import type { FastifyInstance, FastifyRequest } from 'fastify'
import { advertiseReceivePack } from '../../protocol/receive-pack.js'
import type { GitService } from '../../protocol/types.js'
import { advertiseUploadPack } from '../../protocol/upload-pack.js'
import { HubError } from '../errors.js'
import { repoContext } from '../http/request-context.js'
import { sendStream } from '../http/send-stream.js'
import type { GitRoutes } from './git-routes.js'
import { noCache } from './errors.js'
import { protocolVersion } from './git-protocol.js'

/**
 * The service a request names. What is no service we know is refused before anybody looks at the repository, so the refusal tells nothing of it.
 * @throws HubError `not-found` for the dumb protocol, which names none; `forbidden` for an unknown one
 */
function serviceOf(request: FastifyRequest): GitService {
  const { service } = request.query as { service?: unknown }
  if (service === 'git-upload-pack' || service === 'git-receive-pack') return service
  if (service === undefined) throw new HubError('not-found', 'this hub speaks the smart protocol only: use git 1.6.6 or newer')
  throw new HubError('forbidden', `unknown git service: ${typeof service === 'string' ? service.slice(0, 100) : 'more than one'}`)
}

/** `GET info/refs`: the first request of every clone, fetch and push. */
export function infoRefs(app: FastifyInstance, { repos, repoType, prefix, links }: GitRoutes): void {
  app.get(
    `${prefix}/info/refs`,
    {
      // Only a plain fetch is a read.
      config: { repoType, access: (request) => (serviceOf(request) === 'git-upload-pack' ? 'content.read' : 'content.write') },
    },
    async (request, reply) => {
      const { repo } = repoContext(request)
      const service = serviceOf(request)
      const version = protocolVersion(request.headers['git-protocol'])
      const refs = await repos.readRefs(repo)
      reply.headers(noCache).type(`application/x-${service}-advertisement`)
      await sendStream(
        reply,
        service === 'git-upload-pack' ? advertiseUploadPack(refs, version, { bundles: links !== undefined }) : advertiseReceivePack(refs, version),
      )
      return reply
    },
  )
}
