import type { FastifyInstance } from 'fastify'
import { hashToken } from '../../src/auth/tokens.js'
import type { Namespace } from '../../src/db/namespaces.js'
import type { ActorState, RepoPath, RepoState, Versions } from '../../src/db/versions.js'
import { HubError } from '../../src/errors.js'
import { emptyView } from '../../src/packs/empty-view.js'
import type { Repos } from '../../src/repos/repos.js'
import { buildApp, type AppOptions } from '../../src/server/app.js'
import { createMetrics } from '../../src/server/metrics/metrics.js'
import { createMemoryLfs } from './memory-lfs.js'

/** Doors alone, over people and repositories that live in arrays. No git content: what a repository holds is tested elsewhere. */
export interface MemoryHub {
  readonly app: FastifyInstance
  readonly repos: RepoState[]
  readonly namespaces: Namespace[]
  /** Token text → whose it is. */
  readonly tokens: Map<string, ActorState>
  addUser(name: string, options?: { readonly isAdmin?: boolean }): Namespace
  addToken(token: string, user: Namespace, role?: 'read' | 'write' | 'fine-grained'): void
  addRepo(path: RepoPath, options?: Partial<RepoState>): RepoState
}

const at = new Date('2026-01-02T03:04:05.678Z')
const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

export function createMemoryHub(options: Partial<AppOptions> & { readonly repos?: Partial<Repos> } = {}): MemoryHub {
  const repos: RepoState[] = []
  const namespaces: Namespace[] = []
  const tokens = new Map<string, ActorState>()
  const find = (path: RepoPath) => repos.find((repo) => repo.type === path.type && same(repo.namespace, path.namespace) && same(repo.name, path.name))
  const findNamespace = async (name: string) => namespaces.find((one) => same(one.name, name))

  const versions: Versions = {
    async current({ tokenHash, repo }) {
      const entry = tokenHash && [...tokens].find(([token]) => hashToken(token).equals(tokenHash))
      const found = repo && find(repo)
      return { ...(entry ? { actor: entry[1] } : {}), ...(found ? { repo: found } : {}) }
    },
    repoById: async (id) => repos.find((repo) => repo.id === id),
    actorByToken: async (tokenId) => [...tokens.values()].find(({ token }) => token.id === tokenId),
    changing: (_subject, change) => change(),
  }

  const hub: Omit<MemoryHub, 'app'> = {
    repos,
    namespaces,
    tokens,
    addUser(name, { isAdmin = false } = {}) {
      const user: Namespace = { id: namespaces.length + 1, kind: 'user', name, fullName: null, email: null, isAdmin, state: 'active', accessVer: 1 }
      namespaces.push(user)
      return user
    },
    addToken(token, user, role = 'write') {
      const { id, kind, name, fullName, email, isAdmin, accessVer } = user
      tokens.set(token, {
        id,
        kind,
        name,
        fullName,
        email,
        isAdmin,
        accessVer,
        token: { id: tokens.size + 1, name: 'laptop', role, createdAt: at, expiresAt: null },
      })
    },
    addRepo(path, more = {}) {
      const repo: RepoState = {
        id: repos.length + 1,
        ...path,
        namespaceId: namespaces.find((one) => same(one.name, path.namespace))!.id,
        visibility: 'public',
        gated: null,
        disabled: false,
        headRef: 'refs/heads/main',
        versions: { refsVer: 1, packsVer: 1, gcEpoch: 1, purgeEpoch: 1, accessVer: 1 },
        createdAt: at,
        updatedAt: at,
        bytes: 0,
        sdk: null,
        ...more,
      }
      repos.push(repo)
      return repo
    },
  }

  const memoryRepos: Repos = {
    async createRepo({ path, visibility, sdk }) {
      if (find(path)) throw new HubError('already-exists', `You already created this ${path.type} repo`)
      return hub.addRepo(path, { visibility, sdk: sdk ?? null })
    },
    async duplicateRepo({ source, path, visibility = source.visibility }) {
      if (find(path)) throw new HubError('already-exists', `You already created this ${path.type} repo`)
      return hub.addRepo(path, { visibility, sdk: source.sdk, gated: source.gated })
    },
    deleteRepo: async (repo) => void repos.splice(repos.indexOf(repo), 1),
    repoInfo: async (_repo, { revision } = {}) => {
      if (revision !== undefined && revision !== 'main' && revision !== 'refs/pr/1')
        throw new HubError('revision-not-found', `Invalid rev id: ${revision}`)
      return { sha: null, lastModified: at, siblings: [] }
    },
    readRefs: async () => emptyView.refs,
    findFile: async () => {
      throw new HubError('revision-not-found', 'no files here')
    },
    readFile: async function* () {
      yield new Uint8Array()
    },
    openFetch: async () => ({
      view: emptyView,
      answer: async function* () {
        yield new Uint8Array()
      },
      reaches: async () => false,
      deepen: async () => ({ shallow: [], unshallow: [] }),
      mayWant: () => false,
      release: () => undefined,
    }),
    openReceive: () => ({
      stage: async () => {
        throw new Error('no pushes here')
      },
      apply: async () => {
        throw new Error('no pushes here')
      },
    }),
    listRefSteps: async () => [],
    restoreRef: async () => undefined,
    findBundle: async () => undefined,
    openBundle: async () => {
      throw new Error('no bundles here')
    },
    slices: () => ({ pause: () => undefined }),
    ...options.repos,
  }

  const app = buildApp(
    {
      versions,
      findNamespace,
      repos: memoryRepos,
      accounts: {
        async createUser({ name, isAdmin }) {
          if (await findNamespace(name)) throw new HubError('already-exists', `the name '${name}' is taken`)
          return hub.addUser(name, { isAdmin })
        },
        findUser: findNamespace,
        async createToken({ userId, role }) {
          hub.addToken(`hf_made${tokens.size}`, namespaces.find(({ id }) => id === userId)!, role)
          return `hf_made${tokens.size - 1}`
        },
      },
      lfs: createMemoryLfs(),
      collectGarbage: async () => ({}),
      hubId: 'hub-1',
      health: { database: async () => undefined, store: async () => undefined },
      metrics: createMetrics(),
    },
    { allowedHosts: [], trustedProxies: [], maxPackBytes: 1024 * 1024, ...options },
  )
  return { app, ...hub }
}

/** One admin, the owner `alice` with a public, a private, a gated and a disabled repository of each type, the stranger `bob`, and tokens of all kinds. */
export function createPeopledHub(options: Parameters<typeof createMemoryHub>[0] = {}): MemoryHub {
  const hub = createMemoryHub(options)
  const admin = hub.addUser('admin', { isAdmin: true })
  const alice = hub.addUser('Alice')
  const bob = hub.addUser('bob')
  hub.addToken('hf_admin', admin)
  hub.addToken('hf_adminReads', admin, 'read')
  hub.addToken('hf_owner', alice)
  hub.addToken('hf_ownerReads', alice, 'read')
  hub.addToken('hf_stranger', bob)
  hub.addToken('hf_fine', alice, 'fine-grained')
  for (const type of ['model', 'dataset', 'space'] as const) {
    hub.addRepo({ type, namespace: 'Alice', name: 'Open' })
    hub.addRepo({ type, namespace: 'Alice', name: 'secret' }, { visibility: 'private' })
    hub.addRepo({ type, namespace: 'Alice', name: 'gated' }, { gated: 'manual' })
    hub.addRepo({ type, namespace: 'Alice', name: 'off' }, { disabled: true })
  }
  return hub
}
