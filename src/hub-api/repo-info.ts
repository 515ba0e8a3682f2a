import type { FastifyInstance } from 'fastify'
import { repoTypes } from '../db/repositories.js'
import { repoTypePaths } from '../http/repo-path.js'
import { repoContext } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import { isTrue, listOf } from './query.js'
import { infoOf, checkExpand } from './shapes/repo-info.js'

/** `GET /api/{models,datasets,spaces}/{ns}/{name}`, and the same at a revision. */
export function repoInfoRoutes(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  for (const repoType of repoTypes) {
    const url = `/api/${repoTypePaths[repoType].plural}/:namespace/:name`
    // Everything behind /revision/ is the revision, whether or not its slashes are encoded.
    for (const path of [url, `${url}/revision/*`]) {
      app.get<{ Params: { '*'?: string } }>(path, { config: { repoType, access: 'content.read' } }, async (request) => {
        const { repo, clientGone } = repoContext(request)
        const expand = listOf(request.query, 'expand')
        checkExpand(repoType, expand)
        const info = await repos.repoInfo(repo, { revision: request.params['*'], signal: clientGone })
        return infoOf(repo, info, { blobs: isTrue(request.query, 'blobs'), expand })
      })
    }
  }
}
