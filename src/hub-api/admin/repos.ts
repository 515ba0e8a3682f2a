import type { FastifyInstance } from 'fastify'
import { repoTypes, type RepoType, type Visibility } from '../../db/repositories.js'
import { HubError } from '../../errors.js'
import type { Repos } from '../../repos/repos.js'
import { makeRepo } from '../create-repo.js'

interface Body {
  readonly type?: RepoType
  readonly id: string
  readonly empty?: boolean
  readonly visibility?: Visibility
  readonly private?: boolean
  readonly sdk?: string
}

const body = {
  type: 'object',
  required: ['id'],
  additionalProperties: false,
  properties: {
    type: { enum: repoTypes },
    id: { type: 'string', maxLength: 200 },
    empty: { type: 'boolean' },
    visibility: { enum: ['public', 'private'] },
    private: { type: 'boolean' },
    sdk: { type: 'string', maxLength: 200 },
  },
}

/** `POST /api/cairn/repos`: as the Hub's create call, and it can make a repository without a first commit, for importing history. */
export function adminReposRoute(app: FastifyInstance, { repos }: { readonly repos: Repos }): void {
  app.post<{ Body: Body }>('/api/cairn/repos', { schema: { body }, config: { access: 'signed-in' } }, async (request) => {
    const { type = 'model', id, empty = false, visibility, private: isPrivate = false, sdk } = request.body
    const [namespace, name, more] = id.split('/')
    if (!namespace || !name || more !== undefined) throw new HubError('bad-request', `expected an id such as 'namespace/name', got '${id}'`)
    return makeRepo(request, repos, { type, namespace, name, empty, sdk, visibility: visibility ?? (isPrivate ? 'private' : 'public') })
  })
}
