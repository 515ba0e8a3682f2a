import type { FastifyInstance } from 'fastify'
import type { Namespace } from '../../db/namespaces.js'
import { signedInActor } from '../../http/request-context.js'
import { wireId } from '../whoami.js'

/** What the admin calls may do with accounts. `src/auth/accounts` over the database. */
export interface Accounts {
  createUser(user: { readonly name: string; readonly isAdmin: boolean; readonly actorId: number }): Promise<Namespace>
  findUser(name: string): Promise<Namespace | undefined>
  createToken(token: { readonly userId: number; readonly name: string; readonly role: 'read' | 'write'; readonly actorId: number }): Promise<string>
}

interface Body {
  readonly name: string
  readonly admin?: boolean
}

const body = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: { name: { type: 'string', maxLength: 200 }, admin: { type: 'boolean' } },
}

/** `POST /api/cairn/users` */
export function adminUsersRoute(app: FastifyInstance, { accounts }: { readonly accounts: Accounts }): void {
  app.post<{ Body: Body }>('/api/cairn/users', { schema: { body }, config: { access: 'hub.admin' } }, async (request) => {
    const { name, admin = false } = request.body
    const user = await accounts.createUser({ name, isAdmin: admin, actorId: signedInActor(request).id })
    request.log.info({ user: user.name, admin, actor: signedInActor(request).name }, 'user created')
    return { id: wireId(user.id), name: user.name, admin: user.isAdmin }
  })
}
