import type { FastifyRequest } from 'fastify'
import { isLfsOid, type LfsOid } from '../../lfs/types.js'
import type { Actor } from '../auth/actor.js'
import type { SignedLinks } from '../auth/signed-links.js'
import type { RepoState, RepoType } from '../db/versions.js'
import { badLink, settleLink } from '../http/settle-link.js'

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
 * Settles who may use a link, before a byte of the body is read.
 * @throws HubError `forbidden` for a link that is none, is over, or is for something else: git-lfs then asks for a new one
 */
export async function readLink(request: FastifyRequest, use: LinkUse, repoType: RepoType, links: SignedLinks<LinkClaims>): Promise<LinkContext> {
  const { token } = request.query as { readonly token?: unknown }
  const claims = typeof token === 'string' ? await links.read(token) : undefined
  const { oid } = request.params as { readonly oid?: string }
  if (claims?.use !== use || (oid !== undefined && claims.oid !== oid) || !isLfsOid(claims.oid)) throw badLink()
  return { claims, ...(await settleLink(request, claims, repoType, use === 'download' ? 'content.read' : 'content.write')) }
}

export function linkContext(request: FastifyRequest): LinkContext {
  if (!request.lfsLink) throw new Error(`${request.url}: the route has no link`)
  return request.lfsLink
}
