import type { FastifyInstance } from 'fastify'
import type { SignedInActor } from '../auth/actor.js'
import { signedInActor } from '../http/request-context.js'

const wireRoles = { read: 'read', write: 'write', 'fine-grained': 'fineGrained' } as const

/** `GET /api/whoami-v2`: every login asks it. */
export function whoami(app: FastifyInstance): void {
  app.get('/api/whoami-v2', { config: { access: 'signed-in' } }, async (request) => whoamiOf(signedInActor(request)))
}

function whoamiOf({ kind, id, name, fullName, email, token }: SignedInActor) {
  return {
    type: kind === 'user' ? 'user' : 'app',
    id: wireId(id),
    name,
    fullname: fullName ?? name,
    email,
    emailVerified: false,
    canPay: false,
    isPro: false,
    periodEnd: null,
    avatarUrl: '',
    orgs: [],
    auth: {
      type: 'access_token',
      accessToken: { displayName: token.name, role: wireRoles[token.role], createdAt: token.createdAt.toISOString() },
      ...(token.expiresAt ? { expiresAt: token.expiresAt.toISOString() } : {}),
    },
  }
}

/** Ids look as on the real Hub, where they are 24 hex digits. */
export const wireId = (id: number): string => id.toString(16).padStart(24, '0')
