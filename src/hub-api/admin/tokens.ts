import type { FastifyInstance } from 'fastify'
import { isHubAdmin, mayManageTokens } from '../../auth/authorize.js'
import { HubError } from '../../errors.js'
import { refusalInNamespace } from '../../http/refusal.js'
import { signedInActor } from '../../http/request-context.js'
import type { Accounts } from './users.js'

interface Body {
  readonly name?: string
  readonly role?: 'read' | 'write'
}

const body = {
  type: ['object', 'null'],
  additionalProperties: false,
  properties: { name: { type: 'string', minLength: 1, maxLength: 200 }, role: { enum: ['read', 'write'] } },
}

/** `POST /api/cairn/users/{name}/tokens`: for an admin, and for the user himself. The answer is the only place where the token ever stands. */
export function adminTokensRoute(app: FastifyInstance, { accounts }: { readonly accounts: Accounts }): void {
  app.post<{ Params: { name: string }; Body: Body | null | undefined }>(
    '/api/cairn/users/:name/tokens',
    {
      schema: { body },
      config: { access: 'signed-in' },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request, reply) => {
      const actor = signedInActor(request)
      const user = await accounts.findUser(request.params.name)
      if (!user && isHubAdmin(actor)) throw new HubError('not-found', `there is no user '${request.params.name}'`)
      if (!user || !mayManageTokens(actor, user.id)) throw refusalInNamespace(actor, 'hub.admin')
      const { name = 'token', role = 'write' } = request.body ?? {}
      const token = await accounts.createToken({ userId: user.id, name, role, actorId: actor.id })
      request.log.info({ user: user.name, role, actor: actor.name }, 'token created')
      return reply.header('cache-control', 'no-store').send({ token })
    },
  )
}
