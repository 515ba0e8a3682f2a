import type { Action, LargeObject, LfsStore } from '../../lfs/ports.js'
import { may } from '../auth/authorize.js'
import type { SignedLinks } from '../auth/signed-links.js'
import { HubError } from '../errors.js'
import { repoUrl } from '../http/repo-path.js'
import type { RepoContext } from '../http/request-context.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { LinkClaims, LinkUse } from './links.js'

/** A hundred uploads share one line, which may be slow. */
export const uploadLifetimeMs = 6 * 60 * 60_000
export const downloadLifetimeMs = 60 * 60_000

export interface StoreDependencies {
  readonly largeFiles: LargeFiles
  readonly links: SignedLinks<LinkClaims>
}

/** The large objects of the repository that a request is about, for its caller. */
export function createLfsStore({ largeFiles, links }: StoreDependencies, { repo, actor, baseUrl }: RepoContext): LfsStore {
  const base = `${repoUrl(baseUrl, repo)}.git/info/lfs/objects`
  const tokenId = actor.kind === 'anonymous' ? null : actor.token.id

  async function action(use: LinkUse, { oid, size }: LargeObject, path: string, lifetimeMs: number, uploadId?: string): Promise<Action> {
    const claims: LinkClaims = { use, repoId: repo.id, oid, size, tokenId, ...(uploadId === undefined ? {} : { uploadId }) }
    return { href: `${base}/${path}?token=${await links.sign(claims, lifetimeMs)}`, expires_in: lifetimeMs / 1000 }
  }

  return {
    find: (oids) => largeFiles.find(repo.id, oids),
    claim: (objects) => largeFiles.claim({ repoId: repo.id, objects, mayRead: (other) => may(actor, other, 'content.read') }),
    async reserve(objects) {
      if (actor.kind === 'anonymous') throw new HubError('sign-in-required', 'only who has signed in can upload')
      try {
        return await largeFiles.reserve({ repoId: repo.id, actorId: actor.id, objects, lifetimeMs: uploadLifetimeMs })
      } catch (error) {
        if (error instanceof HubError && error.code === 'storage-full') return { noRoom: 'no space is left on the hub' }
        throw error
      }
    },
    async download(object) {
      const url = await largeFiles.direct?.downloadUrl(object.oid, { lifetimeMs: downloadLifetimeMs })
      return url ? { href: url.href, expires_in: downloadLifetimeMs / 1000 } : action('download', object, object.oid, downloadLifetimeMs)
    },
    async upload(object, uploadId) {
      const url = largeFiles.direct?.uploadUrl(object, uploadId, uploadLifetimeMs)
      return {
        upload: url
          ? { href: url.href, expires_in: uploadLifetimeMs / 1000 }
          : await action('upload', object, object.oid, uploadLifetimeMs, uploadId),
        verify: await action('verify', object, 'verify', uploadLifetimeMs, uploadId),
      }
    },
  }
}
