import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { BundleOffer } from '../../protocol/bundle-uri.js'
import type { SignedLinks } from '../auth/signed-links.js'
import { HubError } from '../errors.js'
import { repoUrl } from '../http/repo-path.js'
import { repoContext, requestHub } from '../http/request-context.js'
import { sendStream } from '../http/send-stream.js'
import { badLink, settleLink, type LinkSubject } from '../http/settle-link.js'
import { logStream } from './exchange.js'
import type { GitRoutes } from './git-routes.js'

/** What the address of a bundle is good for. */
export interface BundleClaims extends LinkSubject {
  readonly bundle: string
}

/** A clone of many gigabytes, over a slow line. */
const lifetimeMs = 12 * 60 * 60_000

/** The bundles of the repository a request is about, at addresses that its caller may use for a while: git fetches them without a token. */
export async function offerBundles(request: FastifyRequest, { repos, links }: Pick<GitRoutes, 'repos' | 'links'>): Promise<readonly BundleOffer[]> {
  const { repo, actor, baseUrl } = repoContext(request)
  const bundle = links && (await repos.findBundle(repo))
  if (!bundle) return []
  const tokenId = actor.kind === 'anonymous' ? null : actor.token.id
  const token = await links.sign({ bundle: bundle.name, repoId: repo.id, tokenId }, lifetimeMs)
  return [{ id: 'all', uri: `${repoUrl(baseUrl, repo)}.git/bundle/${bundle.name}?token=${token}`, creationToken: bundle.number }]
}

/** `GET …/bundle/{name}?token=…`: the bundle itself. */
export function bundleRoute(app: FastifyInstance, { repos, prefix, repoType }: GitRoutes, links: SignedLinks<BundleClaims>): void {
  app.get<{ Params: { bundle: string } }>(`${prefix}/bundle/:bundle`, { config: { access: 'public' } }, async (request, reply) => {
    const startedAt = performance.now()
    const { token } = request.query as { readonly token?: unknown }
    const claims = typeof token === 'string' ? await links.read(token) : undefined
    if (claims?.bundle !== request.params.bundle) throw badLink()
    const { repo, actor } = await settleLink(request, claims, repoType, 'content.read')
    if (!/^[0-9a-f]{64}$/.test(claims.bundle)) throw new HubError('not-found', 'there is no such bundle')
    const chunks = await repos.openBundle(repo, claims.bundle, requestHub(request).clientGone)
    reply.type('application/x-git-bundle').header('cache-control', 'private, no-cache')
    logStream(request, { repo, actor }, await sendStream(reply, chunks, { of: repo }), startedAt, {}, 'bundle sent')
    return reply
  })
}
