import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { repoTypes } from '../db/repositories.js'
import { HubError, type HubErrorCode } from '../errors.js'
import { repoTypePaths } from '../http/repo-path.js'
import { repoContext } from '../http/request-context.js'
import type { FoundFile, RepoFile, RepoFiles } from '../repos/repo-files.js'
import { parseFileAddress } from './file-address.js'

/** Refusals that are about this commit. */
const namesCommit: ReadonlySet<HubErrorCode> = new Set(['entry-not-found', 'precondition-failed', 'bad-range'])

/** A file that is there. */
export type PresentFile = FoundFile & { readonly file: RepoFile }

export type FileHandler = (request: FastifyRequest, reply: FastifyReply, found: PresentFile) => Promise<FastifyReply>

/**
 * `GET` and `HEAD {prefix}/{ns}/{name}/{verb}/{rev}/{path}` for all types of repository. The handler only hears of files that are there; what
 * is not is refused with its commit beside it, because clients remember that too.
 */
export function fileRoute(app: FastifyInstance, verb: 'resolve' | 'raw', repos: RepoFiles, handler: FileHandler): void {
  for (const repoType of repoTypes) {
    const base = `${repoTypePaths[repoType].prefix}/:namespace/:name/${verb}`
    const skipped = base.split('/').length - 1
    app.route({
      method: ['GET', 'HEAD'],
      url: `${base}/*`,
      config: { repoType, access: 'content.read' },
      handler: async (request, reply) => {
        const { repo, clientGone } = repoContext(request)
        const found = await repos.findFile(repo, parseFileAddress(request.raw.url ?? '', skipped), clientGone)
        const { file } = found
        try {
          if (!file) throw new HubError('entry-not-found', 'Entry not found')
          return await handler(request, reply, { ...found, file })
        } catch (error) {
          if (error instanceof HubError && namesCommit.has(error.code)) reply.header('x-repo-commit', found.commit)
          throw error
        }
      },
    })
  }
}
