import type { FastifyRequest } from 'fastify'
import { isLfsOid, type LfsOid } from '../../lfs/types.js'
import { actorOf, anonymous, type Actor } from '../auth/actor.js'
import { may } from '../auth/authorize.js'
import type { SignedLinks } from '../auth/signed-links.js'
import type { RepoState, RepoType } from '../db/versions.js'
import { HubError } from '../errors.js'
import { refusal } from '../http/refusal.js'
import { findRepoPath } from '../http/repo-path.js'

export type LinkUse = 'download' | 'upload' | 'verify'

/** What an address that a batch gave out is good for: one use of one object of one repository, by whoever asked for it. */
export interface LinkClaims {
  readonly use: LinkUse
  readonly repoId: number
  readonly oid: LfsOid
  /** Bytes. */
  readonly size: number
  /** The token the batch was asked with; null: nobody in particular asked. */
  readonly tokenId: number | null
  readonly uploadId?: string
}

/** The claims of a link, and who and what they are about as it is now. */
export interface LinkContext {
  readonly claims: LinkClaims
  readonly actor: Actor
  readonly repo: RepoState
}

declare module 'fastify' {
  interface FastifyRequest {
    lfsLink: LinkContext | null
  }
}

/**
 * Settles who may use a link, before a byte of the body is read. The signature says what was asked for; whether it is still allowed is decided
 * on what is true now: a token that was revoked, or a repository that was closed, ends its links.
 * @throws HubError `forbidden` for a link that is none, is over, or is for something else: git-lfs then asks for a new one
 */
export async function readLink(request: FastifyRequest, use: LinkUse, repoType: RepoType, links: SignedLinks<LinkClaims>): Promise<LinkContext> {
  const { versions } = request.server.accessPorts
  const { token } = request.query as { readonly token?: unknown }
  const claims = typeof token === 'string' ? await links.read(token) : undefined
  const { namespace, name, oid } = request.params as { readonly namespace: string; readonly name: string; readonly oid?: string }
  if (claims?.use !== use || (oid !== undefined && claims.oid !== oid) || !isLfsOid(claims.oid)) throw badLink()
  const path = findRepoPath(repoType, namespace, name)
  const { repo } = path ? await versions.current({ repo: path }) : {}
  const state = claims.tokenId === null ? undefined : await versions.actorByToken(claims.tokenId)
  if (claims.tokenId !== null && !state) throw badLink()
  const actor = state ? actorOf(state) : anonymous
  if (!repo || repo.id !== claims.repoId) throw badLink()
  const permission = use === 'download' ? 'content.read' : 'content.write'
  if (!may(actor, repo, permission)) throw refusal(actor, repo, permission)
  return { claims, actor, repo }
}

const badLink = (): HubError => new HubError('forbidden', 'this link is not valid, or no longer: ask for a new one')

export function linkContext(request: FastifyRequest): LinkContext {
  if (!request.lfsLink) throw new Error(`${request.url}: the route has no link`)
  return request.lfsLink
}
