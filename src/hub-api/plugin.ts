import type { FastifyPluginAsync } from 'fastify'
import { HubError } from '../errors.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { PurgeRepo } from '../repos/purge-repo.js'
import type { Repos } from '../repos/repos.js'
import { adminDoctorRoute } from './admin/doctor.js'
import { adminFsckRoute, type CheckHub } from './admin/fsck.js'
import { adminGcRoute, type CollectGarbage } from './admin/gc.js'
import { adminReposRoute } from './admin/repos.js'
import { adminTokensRoute } from './admin/tokens.js'
import { adminUsersRoute, type Accounts } from './admin/users.js'
import { createRepoRoute } from './create-repo.js'
import { deleteRepoRoute } from './delete-repo.js'
import { duplicateRepoRoutes } from './duplicate-repo.js'
import { sendHubError } from './errors.js'
import { createLinkedSizes } from './linked-sizes.js'
import { purgeRepoRoutes } from './purge-repo.js'
import { rawRoutes } from './raw.js'
import { refHistoryRoutes } from './ref-history.js'
import { repoInfoRoutes } from './repo-info.js'
import { resolveRoutes } from './resolve.js'
import { whoami } from './whoami.js'

export interface HubApiOptions {
  readonly repos: Repos
  readonly accounts: Accounts
  /** Names the process that answers. */
  readonly hubId: string
  /** Undefined: this hub collects nothing. */
  readonly collectGarbage?: CollectGarbage | undefined
  /** Undefined: nothing is checked here. */
  readonly checkHub?: CheckHub | undefined
  /** Undefined: nothing is purged here. */
  readonly purgeRepo?: PurgeRepo | undefined
  /** Undefined: this hub keeps none, and says so where one is asked for. */
  readonly largeFiles?: Pick<LargeFiles, 'find' | 'open' | 'direct'> | undefined
}

const notKept = async (): Promise<never> => {
  throw new HubError('not-implemented', 'this hub does not store large files yet')
}
const noLargeFiles: Pick<LargeFiles, 'find' | 'open' | 'direct'> = { find: notKept, open: notKept }

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
    duplicateRepoRoutes(app, options)
    repoInfoRoutes(app, options)
    const { repos, largeFiles = noLargeFiles } = options
    resolveRoutes(app, { repos, largeFiles, linkedSizes: createLinkedSizes(largeFiles) })
    rawRoutes(app, { repos })
    refHistoryRoutes(app, options)
    adminReposRoute(app, options)
    adminUsersRoute(app, options)
    adminTokensRoute(app, options)
    adminDoctorRoute(app, options)
    if (options.purgeRepo) purgeRepoRoutes(app, { purgeRepo: options.purgeRepo })
    if (options.collectGarbage) adminGcRoute(app, { collectGarbage: options.collectGarbage })
    if (options.checkHub) adminFsckRoute(app, { checkHub: options.checkHub })
  }
