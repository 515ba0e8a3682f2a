import type { FastifyRequest } from 'fastify'
import { actorOf, anonymous, type Actor } from '../auth/actor.js'
import { may } from '../auth/authorize.js'
import type { Permission } from '../auth/permissions.js'
import type { RepoState, RepoType } from '../db/versions.js'
import { HubError } from '../errors.js'
import { refusal } from './refusal.js'
import { findRepoPath } from './repo-path.js'

/** Whose link it is, and about what. */
export interface LinkSubject {
  readonly repoId: number
  /** The token it was asked for with; null: nobody in particular asked. */
  readonly tokenId: number | null
}

export const badLink = (): HubError => new HubError('forbidden', 'this link is not valid, or no longer: ask for a new one')

/**
 * Settles who may use a signed link to the repository that the path names, before a byte of the body is read. The signature says what was asked
 * for; whether it is still allowed is decided on what is true now: a token that was revoked, or a repository that was closed, ends its links.
 * @throws HubError `forbidden` for a link that is for something else, or the refusal
 */
export async function settleLink(
  request: FastifyRequest,
  { repoId, tokenId }: LinkSubject,
  repoType: RepoType,
  permission: Permission,
): Promise<{ readonly actor: Actor; readonly repo: RepoState }> {
  const { versions } = request.server.accessPorts
  const { namespace, name } = request.params as { readonly namespace: string; readonly name: string }
  const path = findRepoPath(repoType, namespace, name)
  const { repo } = path ? await versions.current({ repo: path }) : {}
  const state = tokenId === null ? undefined : await versions.actorByToken(tokenId)
  if (tokenId !== null && !state) throw badLink()
  const actor = state ? actorOf(state) : anonymous
  if (!repo || repo.id !== repoId) throw badLink()
  if (!may(actor, repo, permission)) throw refusal(actor, repo, permission)
  return { actor, repo }
}
