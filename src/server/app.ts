import { fastify, LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { FormTokens } from '../auth/csrf.js'
import type { Sessions } from '../auth/sessions.js'
import type { SignedLinks } from '../auth/signed-links.js'
import type { Namespace } from '../db/namespaces.js'
import type { Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { BundleClaims } from '../git-http/bundles.js'
import { gitHttp } from '../git-http/plugin.js'
import type { CheckHub } from '../hub-api/admin/fsck.js'
import type { CollectGarbage } from '../hub-api/admin/gc.js'
import type { Accounts } from '../hub-api/admin/users.js'
import { sendHubError } from '../hub-api/errors.js'
import { hubApi } from '../hub-api/plugin.js'
import { registerAnswerHeaders } from '../http/answer-headers.js'
import { createBaseUrl } from '../http/base-url.js'
import { refuseTwoHosts } from '../http/one-host.js'
import { registerRequestContext } from '../http/request-context.js'
import { createRequestId } from '../http/request-id.js'
import { lfsHttp, type LfsHttpOptions } from '../lfs-http/plugin.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { PurgeRepo } from '../repos/purge-repo.js'
import { RepoStreams } from '../repos/repo-streams.js'
import type { Repos } from '../repos/repos.js'
import type { Uploads } from '../repos/uploads.js'
import { web } from '../web/plugin.js'
import { registerAccessLog } from './access-log.js'
import { health, type HealthChecks } from './health.js'
import type { Metrics } from './metrics/metrics.js'
import { metricsRoute } from './metrics/metrics-route.js'
import { registerRequestMetrics } from './metrics/request-metrics.js'

/** What the doors stand on. */
export interface AppServices {
  /** Names this process where several answer for one hub. */
  readonly hubId: string
  readonly versions: Versions
  readonly findNamespace: (name: string) => Promise<Namespace | undefined>
  readonly repos: Repos
  /** What is being sent of repositories. Undefined: nothing is ever purged. */
  readonly repoStreams?: RepoStreams | undefined
  readonly accounts: Accounts
  /** Undefined: this hub keeps none. */
  readonly largeFiles?: Pick<LargeFiles, 'find' | 'open' | 'direct'> | undefined
  /** Undefined: nothing is collected. */
  readonly collectGarbage?: CollectGarbage | undefined
  /** Undefined: nothing is checked. */
  readonly checkHub?: CheckHub | undefined
  /** Undefined: no bundles are offered. */
  readonly bundleLinks?: SignedLinks<BundleClaims> | undefined
  /** Undefined: nothing is purged. */
  readonly purgeRepo?: PurgeRepo | undefined
  /** Undefined: no git-lfs. */
  readonly lfs?: LfsHttpOptions | undefined
  /** Undefined: no pages. */
  readonly pages?: { readonly sessions: Sessions; readonly formTokens: FormTokens; readonly uploads: Uploads } | undefined
  /** What a request is refused with that would change something, while nothing may be changed. */
  readonly readOnly?: (() => HubError | undefined) | undefined
  readonly health: HealthChecks
  /** Undefined: nothing is counted. */
  readonly metrics?: Metrics | undefined
}

export interface AppOptions {
  readonly publicUrl?: string | undefined
  readonly allowedHosts: readonly string[]
  /** Addresses whose `X-Forwarded-*` are believed. */
  readonly trustedProxies: readonly string[]
  /** Of who reads the metrics; undefined: who is on this machine. */
  readonly metricsToken?: string | undefined
  readonly maxPackBytes: number
  readonly keepaliveMs?: number
  readonly headersTimeoutMs?: number
  readonly logger?: FastifyBaseLogger
}

/** A request's head must be here by then; its body may take as long as it keeps coming. */
const defaultHeadersTimeoutMs = 30_000
const checkIntervalMs = 5_000
/** Over what load balancers keep an idle connection, so that it is never us who closes one they are about to use. */
const keepAliveTimeoutMs = 75_000
/** A whole encoded path is one parameter. */
const maxParamLength = 8_192

/** The hub: every door, one line each. */
export function buildApp(services: AppServices, options: AppOptions): FastifyInstance {
  const { headersTimeoutMs = defaultHeadersTimeoutMs } = options
  const { metrics } = services
  const app = fastify({
    ...(options.logger ? { loggerInstance: options.logger } : {}),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
    genReqId: (raw) => createRequestId(raw.headers),
    requestTimeout: 0,
    // A proxy may send one more on a connection it keeps, just when we are told to stop: it is answered, and the connection ends after it.
    return503OnClosing: false,
    keepAliveTimeout: keepAliveTimeoutMs,
    http: { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: Math.min(checkIntervalMs, headersTimeoutMs) },
    routerOptions: { maxParamLength, ignoreDuplicateSlashes: false },
    exposeHeadRoutes: false,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    rewriteUrl: (raw) => localUrl(raw.url ?? '/', prefixOf(options.publicUrl)),
    frameworkErrors(error, request, reply) {
      metrics?.requests.watch(request, reply) // no hook runs for these
      void sendHubError(error, request, reply)
    },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true } },
  })
  app.decorate('repoStreams', services.repoStreams ?? new RepoStreams())
  registerAnswerHeaders(app)
  registerAccessLog(app)
  if (metrics) registerRequestMetrics(app, metrics.requests)
  refuseTwoHosts(app)
  registerRequestContext(app, {
    versions: services.versions,
    findNamespace: services.findNamespace,
    readOnly: services.readOnly,
    findSession: async (id) => services.pages?.sessions.find(id),
    baseUrl: createBaseUrl({ publicUrl: options.publicUrl, allowedHosts: options.allowedHosts }),
  })
  app.setErrorHandler(sendHubError)
  app.setNotFoundHandler((request, reply) =>
    sendHubError(new HubError('not-found', `there is nothing at ${request.url.split('?')[0]!.slice(0, 200)}`), request, reply),
  )

  void app.register(health(services.health))
  if (metrics) {
    const isFronted = options.publicUrl !== undefined || options.trustedProxies.length > 0
    void app.register(metricsRoute({ metrics, token: options.metricsToken, isFronted }))
  }
  void app.register(
    gitHttp({
      repos: services.repos,
      maxPackBytes: options.maxPackBytes,
      bundleLinks: services.bundleLinks,
      ...(options.keepaliveMs === undefined ? {} : { keepaliveMs: options.keepaliveMs }),
    }),
  )
  if (services.lfs) void app.register(lfsHttp(services.lfs))
  void app.register(
    hubApi({
      hubId: services.hubId,
      repos: services.repos,
      accounts: services.accounts,
      largeFiles: services.largeFiles,
      collectGarbage: services.collectGarbage,
      checkHub: services.checkHub,
      purgeRepo: services.purgeRepo,
    }),
  )
  if (services.pages) void app.register(web({ repos: services.repos, ...services.pages }))
  return app
}

/** The path part of the public address, without a slash at its end; '' for none. */
const prefixOf = (publicUrl: string | undefined): string => (publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, ''))

/** A request's address without the public prefix, which a proxy may or may not have taken off, and with one slash in front: some clients send two. */
function localUrl(url: string, prefix: string): string {
  const single = url.replace(/^\/{2,}/, '/')
  if (prefix === '' || !single.startsWith(prefix)) return single
  const rest = single.slice(prefix.length)
  if (rest !== '' && !/^[/?]/.test(rest)) return single
  return rest.startsWith('/') ? rest.replace(/^\/{2,}/, '/') : `/${rest}`
}
