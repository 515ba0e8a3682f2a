import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { setTimeout as delay } from 'node:timers/promises'
import type { Sleep } from '../../protocol/ports.js'
import { repoTypes } from '../db/repositories.js'
import { HubError } from '../errors.js'
import { repoTypePaths } from '../http/repo-path.js'
import type { Repos } from '../repos/repos.js'
import type { SignedLinks } from '../auth/signed-links.js'
import { bundleRoute, type BundleClaims } from './bundles.js'
import { sendGitError } from './errors.js'
import { infoRefs } from './info-refs.js'
import type { GitRoutes } from './git-routes.js'
import { receivePackRoute } from './receive-pack.js'
import { uploadPackRoute } from './upload-pack.js'

export interface GitHttpOptions {
  readonly repos: Repos
  /** Of one push. */
  readonly maxPackBytes: number
  /** Undefined: no bundles are offered. */
  readonly bundleLinks?: SignedLinks<BundleClaims> | undefined
  readonly keepaliveMs?: number
}

const sleep: Sleep = async (ms, signal) => {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined) // aborted: awake
}

/** Git over HTTP: models at `/{ns}/{name}`, datasets and spaces below their own prefix. */
export const gitHttp =
  ({ repos, maxPackBytes, bundleLinks, keepaliveMs = 5_000 }: GitHttpOptions): FastifyPluginAsync =>
  async (app) => {
    // Bodies are streams that only the routes read.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    app.setErrorHandler(sendGitError)
    for (const repoType of repoTypes) {
      const routes: GitRoutes = {
        repos,
        maxPackBytes,
        links: bundleLinks,
        repoType,
        clock: { sleep, keepaliveMs },
        prefix: `${repoTypePaths[repoType].prefix}/:namespace/:name`,
      }
      infoRefs(app, routes)
      uploadPackRoute(app, routes)
      receivePackRoute(app, routes)
      if (bundleLinks) bundleRoute(app, routes, bundleLinks)
      dumbProtocol(app, routes)
    }
  }

/** Files of a bare repository, as the dumb protocol asks for them: there are none. */
function dumbProtocol(app: FastifyInstance, { prefix, repoType }: GitRoutes): void {
  for (const path of ['/HEAD', '/objects/*']) {
    app.get(`${prefix}${path}`, { config: { repoType, access: 'content.read' } }, async () => {
      throw new HubError('not-found', 'this hub speaks the smart protocol only: use git 1.6.6 or newer')
    })
  }
}
