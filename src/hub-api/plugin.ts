import type { FastifyPluginAsync } from 'fastify'
import type { Repos } from '../repos/repos.js'
import { adminReposRoute } from './admin/repos.js'
import { adminTokensRoute } from './admin/tokens.js'
import { adminUsersRoute, type Accounts } from './admin/users.js'
import { createRepoRoute } from './create-repo.js'
import { deleteRepoRoute } from './delete-repo.js'
import { sendHubError } from './errors.js'
import { repoInfoRoutes } from './repo-info.js'
import { whoami } from './whoami.js'

export interface HubApiOptions {
  readonly repos: Repos
  readonly accounts: Accounts
}

/** The Hub's HTTP API, as its clients call it, and our own calls below `/api/cairn/`. */
export const hubApi =
  (options: HubApiOptions): FastifyPluginAsync =>
  async (app) => {
    app.setErrorHandler(sendHubError)
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeContentTypeParser('application/json')
    // Some clients announce JSON and send nothing.
    app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, text, done) => {
      if (text.trim() === '') done(null, undefined)
      else void parseJson(request, text, done)
    })
    whoami(app)
    createRepoRoute(app, options)
    deleteRepoRoute(app, options)
    repoInfoRoutes(app, options)
    adminReposRoute(app, options)
    adminUsersRoute(app, options)
    adminTokensRoute(app, options)
  }
