import type { FastifyPluginAsync } from 'fastify'
import { repoTypes } from '../db/repositories.js'
import { HubError } from '../errors.js'
import { repoTypePaths } from '../http/repo-path.js'
import { batchRoute } from './batch.js'
import { sendLfsError } from './errors.js'
import type { LfsRoutes } from './lfs-routes.js'
import { lockRoutes } from './locks.js'
import { transferRoutes } from './transfer.js'

export type LfsHttpOptions = Omit<LfsRoutes, 'repoType' | 'prefix'>

/** Git LFS: batch, basic transfer, locks, for all types of repository, with `.git` behind the name or without. */
export const lfsHttp =
  (options: LfsHttpOptions): FastifyPluginAsync =>
  async (app) => {
    // Bodies are read by the routes: objects are streams, and JSON comes under several names.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    app.setErrorHandler(sendLfsError)
    app.decorateRequest('lfsLink', null)
    for (const repoType of repoTypes) {
      const routes: LfsRoutes = { ...options, repoType, prefix: `${repoTypePaths[repoType].prefix}/:namespace/:name/info/lfs` }
      batchRoute(app, routes)
      transferRoutes(app, routes)
      lockRoutes(app, routes)
      app.route({
        method: ['GET', 'POST', 'PUT', 'DELETE'],
        url: `${routes.prefix}/*`,
        config: { repoType, access: 'content.read', writes: false },
        handler: async () => {
          throw new HubError('not-found', 'Git LFS knows nothing of this address')
        },
      })
    }
  }
