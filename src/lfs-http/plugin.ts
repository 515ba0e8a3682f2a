import type { FastifyPluginAsync } from 'fastify'
import { repoTypes } from '../db/repositories.js'
import { HubError } from '../errors.js'
import { repoTypePaths } from '../http/repo-path.js'
import { sendLfsError } from './errors.js'

/** Git LFS: not built yet. Says so to those who may read the repository, in words git-lfs prints. */
export const lfsHttp: FastifyPluginAsync = async (app) => {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setErrorHandler(sendLfsError)
  for (const repoType of repoTypes) {
    app.route({
      method: ['GET', 'POST', 'PUT', 'DELETE'],
      url: `${repoTypePaths[repoType].prefix}/:namespace/:name/info/lfs/*`,
      config: { repoType, access: 'content.read' },
      handler: async () => {
        throw new HubError('not-implemented', 'this hub does not store large files yet: Git LFS is not supported')
      },
    })
  }
}
