import type { FastifyInstance, FastifyRequest } from 'fastify'
import { actorOf, anonymous, type Actor, type SignedInActor } from '../auth/actor.js'
import { readCredentials } from '../auth/authenticate.js'
import { isHubAdmin, may, mayInNamespace } from '../auth/authorize.js'
import type { Permission } from '../auth/permissions.js'
import type { Session } from '../auth/sessions.js'
import type { Namespace } from '../db/namespaces.js'
import type { RepoPath, RepoState, RepoType, Versions } from '../db/versions.js'
import type { Addressed } from './base-url.js'
import type { HubError } from '../errors.js'
import { readCookie } from './cookies.js'
import { badCredentials, refusal, refusalInNamespace, signInRequired } from './refusal.js'
import { findRepoPath } from './repo-path.js'

/** What a route asks of its caller: nothing, an account, or a permission on the repository its path names. */
export type AccessLevel = 'public' | 'signed-in' | Permission
/** What a request says may choose the level. It must never be able to choose a lower one than what it then gets to do needs. */
export type Access = AccessLevel | ((request: FastifyRequest) => AccessLevel)

/** Who asks, about what, under which address: settled once, before a byte of the body is read. */
export interface RequestHub {
  readonly actor: Actor
  /** The repository the path names, when the access asked for is a permission on it. */
  readonly repo?: RepoState
  /** What signed the caller in, on a page. */
  readonly session?: Session
  /** In front of every absolute link; no slash at its end. */
  readonly baseUrl: string
  /** Aborts when the client leaves before it has its answer. */
  readonly clientGone: AbortSignal
  /** Decides again on what is true now: the same token, the same repository. */
  readonly mayStill: (permission: Permission) => Promise<boolean>
  /** The same token, the same namespace. */
  readonly mayStillInNamespace: (namespaceId: number, permission: Permission) => Promise<boolean>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
    /** The path has `:namespace` and `:name` of a repository of this type. */
    repoType?: RepoType
    /** Whether the request changes anything; by default all but GET and HEAD do, and what needs `content.write`. */
    writes?: boolean
    /** The body names the repository: who is refused is refused as if the path did. */
    repoInBody?: boolean
    /** For browsers: the caller is whom the session cookie names, and `Authorization` is not looked at. Nowhere else does a cookie count. */
    page?: boolean
    /** For probes: neither the Host nor the caller is looked at. */
    bare?: boolean
  }
  interface FastifyRequest {
    hub: RequestHub | null
  }
  interface FastifyInstance {
    accessPorts: AccessPorts
  }
}

export interface AccessPorts {
  readonly versions: Versions
  readonly findNamespace: (name: string) => Promise<Namespace | undefined>
  /** What a request is refused with that would change something, while nothing may be changed. */
  readonly readOnly?: (() => HubError | undefined) | undefined
  /** By the id in the cookie. Undefined: nobody is signed in that way here. */
  readonly findSession?: (id: string) => Promise<Session | undefined>
  /** @throws HubError `bad-host` */
  readonly baseUrl: (request: Addressed) => string
}

/**
 * Puts the one access decision before every route. A route that does not state what it needs stops the boot.
 * To be called before any route is added.
 */
export function registerRequestContext(app: FastifyInstance, ports: AccessPorts): void {
  app.decorate('accessPorts', ports)
  app.decorateRequest('hub', null)
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.access === undefined) throw new Error(`route ${String(method)} ${url} does not state config.access`)
  })
  app.addHook('onRequest', async (request, reply) => {
    const { access, repoType, repoInBody = false, bare = false, page = false, writes } = request.routeOptions.config
    if (request.is404 || bare || access === undefined) return
    const gone = new AbortController()
    // The response's close, not the request's: that one comes as soon as a body has been read.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort()
    })
    const baseUrl = ports.baseUrl(request)
    const findSession = page ? () => sessionOf(request, baseUrl, ports) : undefined
    const session = await findSession?.()
    const tokenHash = page ? session?.tokenHash : tokenHashOf(request)
    const level = typeof access === 'function' ? access(request) : access
    const path = repoType === undefined ? undefined : pathOf(request, repoType)
    const current = await ports.versions.current({ tokenHash, repo: path })
    // A session ends with its token: who had it is nobody in particular now.
    if (tokenHash && !current.actor && !page) throw badCredentials()
    const actor = current.actor ? actorOf(current.actor) : anonymous

    if (level === 'signed-in') {
      if (actor.kind === 'anonymous') throw repoInBody ? refusal(actor, undefined, 'repo.see') : signInRequired()
    } else if (level !== 'public') {
      decide(actor, repoType === undefined ? 'hub' : current.repo, level)
    }
    if (writes ?? (level === 'content.write' || !safeMethods.has(request.method))) refuseWhenReadOnly(request)
    const stillHash = async (): Promise<Uint8Array | undefined> => (findSession ? (await findSession())?.tokenHash : tokenHash)
    request.hub = Object.freeze({
      actor,
      baseUrl,
      clientGone: gone.signal,
      ...(session && current.actor ? { session } : {}),
      ...(current.repo && level !== 'public' && level !== 'signed-in' ? { repo: current.repo } : {}),
      async mayStill(permission: Permission) {
        const now = await ports.versions.current({ tokenHash: await stillHash(), repo: path })
        return now.repo !== undefined && now.repo.id === current.repo?.id && may(now.actor ? actorOf(now.actor) : anonymous, now.repo, permission)
      },
      async mayStillInNamespace(namespaceId: number, permission: Permission) {
        const now = await ports.versions.current({ tokenHash: await stillHash() })
        return now.actor !== undefined && mayInNamespace(actorOf(now.actor), namespaceId, permission)
      },
    })
  })
}

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** For what would change something. Only who may do it hears that it cannot be done now. @throws HubError `read-only` */
export function refuseWhenReadOnly({ server }: FastifyRequest): void {
  const refused = server.accessPorts.readOnly?.()
  if (refused) throw refused
}

/** @throws HubError `bad-credentials` for a header that can be no token of ours */
function tokenHashOf(request: FastifyRequest): Buffer | undefined {
  const credentials = readCredentials(request.headers.authorization)
  if (credentials.kind === 'unusable') throw badCredentials()
  return credentials.kind === 'token' ? credentials.hash : undefined
}

async function sessionOf(request: FastifyRequest, baseUrl: string, { findSession }: AccessPorts): Promise<Session | undefined> {
  const id = readCookie(request.headers.cookie, baseUrl, 'cairn-session')
  return id === undefined ? undefined : findSession?.(id)
}

function pathOf(request: FastifyRequest, type: RepoType): RepoPath | undefined {
  const { namespace, name } = request.params as { namespace: string; name: string }
  return findRepoPath(type, namespace, name)
}

function decide(actor: Actor, repo: RepoState | undefined | 'hub', permission: Permission): void {
  if (repo === 'hub') {
    if (permission !== 'hub.admin' || !isHubAdmin(actor)) throw refusalInNamespace(actor, permission)
  } else if (!repo || !may(actor, repo, permission)) {
    throw refusal(actor, repo, permission)
  }
}

/** What was settled about a request. */
export function requestHub(request: FastifyRequest): RequestHub {
  if (!request.hub) throw new Error(`${request.url}: the route is bare and has no context`)
  return request.hub
}

export interface RepoContext extends RequestHub {
  readonly repo: RepoState
}

/** The same where the path names a repository. */
export function repoContext(request: FastifyRequest): RepoContext {
  const hub = requestHub(request)
  if (!hub.repo) throw new Error(`${request.url}: the route names no repository`)
  return hub as RepoContext
}

/** The caller of a route that wants an account. @throws HubError `sign-in-required` */
export function signedInActor(request: FastifyRequest): SignedInActor {
  const { actor } = requestHub(request)
  if (actor.kind === 'anonymous') throw signInRequired()
  return actor
}

/** Asks for more than the route did, because of what the request turned out to want. @throws HubError the refusal */
export function raiseTo(request: FastifyRequest, permission: Permission): void {
  const { actor, repo } = repoContext(request)
  decide(actor, repo, permission)
  if (permission === 'content.write') refuseWhenReadOnly(request)
}

/** The decision about a repository that the body names. `path` undefined: no repository can have that name. @throws HubError the refusal */
export async function authorizeRepo(request: FastifyRequest, path: RepoPath | undefined, permission: Permission): Promise<RepoState> {
  const { actor } = requestHub(request)
  const { repo } = path ? await request.server.accessPorts.versions.current({ repo: path }) : {}
  if (!repo || !may(actor, repo, permission)) throw refusal(actor, repo, permission)
  return repo
}

/** The same for a namespace. One that is not there is refused as one of somebody else. @throws HubError the refusal */
export async function authorizeNamespace(request: FastifyRequest, name: string, permission: Permission): Promise<Namespace> {
  const { actor } = requestHub(request)
  const namespace = await request.server.accessPorts.findNamespace(name)
  if (!namespace || !mayInNamespace(actor, namespace.id, permission)) throw refusalInNamespace(actor, permission)
  return namespace
}
