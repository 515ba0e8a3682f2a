import { may, type AccessSubject } from '../auth/authorize.js'
import type { Actor } from '../auth/actor.js'
import type { Permission } from '../auth/permissions.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'

const signInPlease = 'Invalid username or password.'

/** Somebody must sign in; it is not about a repository. */
export const signInRequired = (): HubError => new HubError('sign-in-required', signInPlease)

/** Something was sent to sign in with, and it is wrong, expired or revoked. */
export const badCredentials = (): HubError => new HubError('bad-credentials', 'Invalid credentials in Authorization header')

/**
 * The one answer to somebody who may not. What is private and what is not there are refused in the same words, with the same status.
 * `repo` undefined: there is none of that name.
 */
export function refusal(actor: Actor, repo: RepoState | undefined, permission: Permission): HubError {
  const seen = repo !== undefined && may(actor, repo, 'repo.see')
  if (!seen) {
    if (actor.kind === 'anonymous') return new HubError('sign-in-required', signInPlease, { details: { subject: 'repository' } })
    return new HubError('repo-not-found', 'Repository not found')
  }
  if (repo.disabled) return new HubError('forbidden', 'Access to this resource is disabled.')
  if (repo.gated !== null && !may(actor, repo, 'content.read')) return gatedRefusal(actor, repo)
  if (actor.kind === 'anonymous') return signInRequired()
  return new HubError(
    'forbidden',
    couldWithAnotherToken(actor, repo, permission)
      ? `this token may not do that (${permission}): use one with the role 'write'`
      : `you are not allowed to do that (${permission}) in ${repo.namespace}/${repo.name}`,
  )
}

/** The same for what is asked of a namespace or of the hub at large. */
export function refusalInNamespace(actor: Actor, permission: Permission): HubError {
  if (actor.kind === 'anonymous') return signInRequired()
  return new HubError(
    'forbidden',
    actor.token.role === 'write'
      ? `you are not allowed to do that (${permission})`
      : `this token may not do that (${permission}): use one with the role 'write'`,
  )
}

function couldWithAnotherToken(actor: Actor, repo: AccessSubject, permission: Permission): boolean {
  if (actor.kind === 'anonymous' || actor.token.role === 'write') return false
  return may({ ...actor, token: { ...actor.token, role: 'write' } }, repo, permission)
}

function gatedRefusal(actor: Actor, repo: RepoState): HubError {
  const what = `Access to ${repo.type} ${repo.namespace}/${repo.name} is restricted`
  const details = { subject: 'gated' }
  if (actor.kind === 'anonymous') {
    return new HubError('sign-in-required', `${what}. You must have access to it and be authenticated to access it. Please log in.`, { details })
  }
  return new HubError('forbidden', `${what} and you are not in the authorized list.`, { details })
}
