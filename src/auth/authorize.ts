import type { RepoState } from '../db/versions.js'
import type { Actor } from './actor.js'
import type { Permission } from './permissions.js'

/** What a decision about a repository looks at. */
export type AccessSubject = Pick<RepoState, 'namespaceId' | 'visibility' | 'gated' | 'disabled'>

const readingPermissions: ReadonlySet<Permission> = new Set<Permission>(['repo.see', 'content.read'])

/**
 * Whether a token lets its owner use a permission he has. A read token never writes. A fine-grained one says in its scopes what it may,
 * and as long as nobody reads those it opens nothing that is not open to all.
 */
function tokenAllows(actor: Actor, permission: Permission): boolean {
  if (actor.kind === 'anonymous') return false
  return actor.token.role === 'write' || (actor.token.role === 'read' && readingPermissions.has(permission))
}

const isOwner = (actor: Actor, namespaceId: number): boolean => actor.kind !== 'anonymous' && actor.id === namespaceId
const isAdmin = (actor: Actor): boolean => actor.kind !== 'anonymous' && actor.isAdmin

/** The one decision about a repository. */
export function may(actor: Actor, repo: AccessSubject, permission: Permission): boolean {
  if (permission === 'hub.admin') return isHubAdmin(actor)
  const holds = tokenAllows(actor, permission) && (isAdmin(actor) || isOwner(actor, repo.namespaceId))
  switch (permission) {
    case 'repo.see':
      return holds || repo.visibility === 'public'
    case 'content.read':
      if (repo.disabled) return holds && isAdmin(actor)
      return holds || (repo.visibility === 'public' && repo.gated === null)
    case 'discussion.write':
      return tokenAllows(actor, permission) && may(actor, repo, 'content.read')
    case 'content.write':
      return holds && (!repo.disabled || isAdmin(actor))
    default:
      return holds
  }
}

/** Whether the actor may use a permission in a namespace at large: `namespace.create` in his own, an admin in any. */
export function mayInNamespace(actor: Actor, namespaceId: number, permission: Permission): boolean {
  if (permission === 'hub.admin') return isHubAdmin(actor)
  return tokenAllows(actor, permission) && (isAdmin(actor) || isOwner(actor, namespaceId))
}

/** Whether the actor may run the hub. */
export const isHubAdmin = (actor: Actor): boolean => isAdmin(actor) && tokenAllows(actor, 'hub.admin')

/** Tokens are made by their owner with a token that may write, or by an admin. */
export const mayManageTokens = (actor: Actor, userId: number): boolean =>
  isHubAdmin(actor) || (isOwner(actor, userId) && tokenAllows(actor, 'repo.settings'))
