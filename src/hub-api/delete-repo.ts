import type { FastifyInstance } from 'fastify'
import { repoTypes, type RepoType } from '../db/repositories.js'
import { findRepoPath } from '../http/repo-path.js'
import { authorizeRepo, signedInActor } from '../http/request-context.js'
import type { Repos } from '../repos/repos.js'
import { namespaceAndName } from './repo-name.js'

interface DeleteBody {
  readonly name: string
  readonly organization?: string | null
  readonly type?: RepoType | null
}

const body = {
  type: 'object',
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 200 },
    organization: { type: ['string', 'null'], maxLength: 200 },
    type: { enum: [...repoTypes, null] },
  },
}

/** `DELETE /api/repos/delete` */
export function deleteRepoRoute(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  app.delete<{ Body: DeleteBody }>('/api/repos/delete', { schema: { body }, config: { access: 'signed-in', repoInBody: true } }, async (request) => {
    const actor = signedInActor(request)
    const { name, organization, type } = request.body
    const [namespace, bare] = namespaceAndName(name, organization, actor.name)
    const repo = await authorizeRepo(request, findRepoPath(type ?? 'model', namespace, bare), 'repo.delete')
    await repos.deleteRepo(repo, actor)
    request.log.info({ repo: `${repo.namespace}/${repo.name}`, repoType: repo.type, actor: actor.name }, 'repository deleted')
    return {}
  })
}
