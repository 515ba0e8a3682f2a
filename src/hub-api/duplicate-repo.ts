import type { FastifyInstance } from 'fastify'
import { repoTypes } from '../db/repositories.js'
import { findRepoPath, parseNewRepoPath, repoTypePaths, repoUrl } from '../http/repo-path.js'
import { authorizeNamespace, authorizeRepo, requestHub, signedInActor } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import { askedVisibility, visibilityProperties, type VisibilityBody } from './asked-visibility.js'
import { withUrlWhenTaken } from './create-repo.js'
import { namespaceAndName } from './repo-name.js'

interface DuplicateBody extends VisibilityBody {
  readonly repository: string
}

const body = {
  type: 'object',
  required: ['repository'],
  properties: {
    repository: { type: 'string', maxLength: 200 },
    ...visibilityProperties,
  },
}

/**
 * `POST /api/{models,datasets,spaces}/{ns}/{name}/duplicate`: a repository with the branches, tags and large files of this one, for who may read it
 * and make one of that name. As public or private as this one, unless said otherwise.
 */
export function duplicateRepoRoutes(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  for (const repoType of repoTypes) {
    const url = `/api/${repoTypePaths[repoType].plural}/:namespace/:name/duplicate`
    app.post<{ Body: DuplicateBody; Params: { namespace: string; name: string } }>(
      url,
      { schema: { body }, config: { repoType, access: 'signed-in' } },
      async (request) => {
        const { params } = request
        const { baseUrl, clientGone, mayStill, mayStillInNamespace } = requestHub(request)
        const actor = signedInActor(request)
        const source = await authorizeRepo(request, findRepoPath(repoType, params.namespace, params.name), 'content.read')
        const [owner, name] = namespaceAndName(request.body.repository, null, actor.name)
        const namespace = await authorizeNamespace(request, owner, 'namespace.create')
        const path = parseNewRepoPath(repoType, namespace.name, name)
        const repo = await withUrlWhenTaken(baseUrl, path, () =>
          repos.duplicateRepo({
            source,
            actor,
            path,
            namespaceId: namespace.id,
            visibility: askedVisibility(request.body),
            authorise: async () => (await mayStill('content.read')) && mayStillInNamespace(namespace.id, 'namespace.create'),
            signal: clientGone,
          }),
        )
        const names = { source: `${source.namespace}/${source.name}`, repo: `${repo.namespace}/${repo.name}` }
        request.log.info({ ...names, repoType, actor: actor.name }, 'repository duplicated')
        return { url: repoUrl(baseUrl, repo) }
      },
    )
  }
}
