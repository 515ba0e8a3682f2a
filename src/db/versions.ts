import type { NamespaceKind } from './namespaces.js'
import type { Queryable } from './pool.js'
import type { RepoType, Visibility } from './repositories.js'
import { perTick } from './per-tick.js'
import { named, sql } from './sql.js'
import type { TokenRole } from './tokens.js'

export type { RepoType } from './repositories.js'

/** Versions only rise. What is cached about a repository is keyed by them. */
export interface RepoVersions {
  readonly refsVer: number
  readonly packsVer: number
  readonly gcEpoch: number
  readonly purgeEpoch: number
  readonly accessVer: number
}

export interface RepoState {
  readonly id: number
  readonly type: RepoType
  readonly namespaceId: number
  /** With the case it was created with, as `name`. */
  readonly namespace: string
  readonly name: string
  readonly visibility: Visibility
  readonly gated: 'auto' | 'manual' | null
  readonly disabled: boolean
  /** Full ref name, one character a byte. */
  readonly headRef: string
  readonly versions: RepoVersions
  readonly createdAt: Date
  readonly updatedAt: Date
  /** Of all its packs. */
  readonly bytes: number
  readonly sdk: string | null
}

export interface ActorState {
  readonly id: number
  readonly kind: NamespaceKind
  readonly name: string
  readonly fullName: string | null
  readonly email: string | null
  readonly isAdmin: boolean
  readonly accessVer: number
  readonly token: { readonly id: number; readonly name: string; readonly role: TokenRole; readonly createdAt: Date; readonly expiresAt: Date | null }
}

/** Where a repository is looked for. Names match without case. */
export interface RepoPath {
  readonly type: RepoType
  readonly namespace: string
  readonly name: string
}

export interface CurrentQuery {
  /** SHA-256 of the token that was sent. */
  readonly tokenHash?: Uint8Array | undefined
  readonly repo?: RepoPath | undefined
}

export interface Current {
  /** Undefined: no token was asked for, or none such is live. */
  readonly actor?: ActorState
  readonly repo?: RepoState
}

/** What access is decided on, and the versions that what is cached stands on, as they are now. */
export interface Versions {
  current(query: CurrentQuery): Promise<Current>
  repoById(id: number): Promise<RepoState | undefined>
  /** Whose a live token is. */
  actorByToken(tokenId: number): Promise<ActorState | undefined>
  /**
   * Runs a change to what is answered here. Whoever makes one says so: until it has ended, however it ends, nothing about its subject is
   * answered from memory.
   */
  changing<T>(subject: ChangeSubject, change: () => Promise<T>): Promise<T>
}

/** What a change is about: a repository, an actor, or both. */
export interface ChangeSubject {
  readonly repoId?: number | undefined
  readonly actorId?: number | undefined
}

/** What `repoColumns` select. */
export interface RepoRow {
  repo_id: number | null
  type: RepoType
  namespace_id: number
  namespace: string
  repo_name: string
  visibility: Visibility
  gated: 'auto' | 'manual' | null
  disabled: boolean
  head_ref: Buffer
  sdk: string | null
  bytes: number
  refs_ver: number
  packs_ver: number
  gc_epoch: number
  purge_epoch: number
  repo_access_ver: number
  created_at: Date
  updated_at: Date
}

interface ActorRow {
  actor_id: number | null
  kind: NamespaceKind
  actor_name: string
  full_name: string | null
  email: string | null
  is_admin: boolean
  actor_access_ver: number
  token_id: number
  token_name: string
  role: TokenRole
  token_created_at: Date
  expires_at: Date | null
}

/** Of `repositories r` and its `namespaces n`. */
export const repoColumns = sql`
  r.id AS repo_id, r.type, r.namespace_id, n.name AS namespace, r.name AS repo_name, r.visibility, r.gated, r.disabled, r.head_ref, r.sdk, r.bytes,
  r.refs_ver, r.packs_ver, r.gc_epoch, r.purge_epoch, r.access_ver AS repo_access_ver, r.created_at, r.updated_at`

const actorColumns = sql`
  a.id AS actor_id, a.kind, a.name AS actor_name, a.full_name, a.email, a.is_admin, a.access_ver AS actor_access_ver,
  t.id AS token_id, t.name AS token_name, t.role, t.created_at AS token_created_at, t.expires_at`
const isLiveToken = sql`t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND a.state = 'active'`

/** Questions in one statement. */
const maxBatch = 1_000

/** All who ask in one tick share one statement. */
export function createVersions(db: Queryable): Versions {
  const read = async (queries: readonly CurrentQuery[]): Promise<Current[]> => {
    const rows = await db.query<RepoRow & ActorRow>(
      named(
        'versions-current',
        sql`
        SELECT actor.*, repo.*
        FROM unnest(
          ${queries.map(({ tokenHash }) => (tokenHash ? Buffer.from(tokenHash) : null))}::bytea[],
          ${queries.map(({ repo }) => repo?.type ?? null)}::text[],
          ${queries.map(({ repo }) => repo?.namespace ?? null)}::text[],
          ${queries.map(({ repo }) => repo?.name ?? null)}::text[]
        ) WITH ORDINALITY AS q (token_hash, type, namespace, name, at)
        LEFT JOIN LATERAL (
          SELECT ${actorColumns} FROM tokens t JOIN namespaces a ON a.id = t.namespace_id WHERE t.hash = q.token_hash AND ${isLiveToken}
        ) AS actor ON true
        LEFT JOIN LATERAL (
          SELECT ${repoColumns} FROM namespaces n JOIN repositories r ON r.namespace_id = n.id
          WHERE lower(n.name) = lower(q.namespace) AND r.type = q.type AND lower(r.name) = lower(q.name) AND r.deleted_at IS NULL
        ) AS repo ON true
        ORDER BY q.at`,
      ),
    )
    return rows.map((row) => ({
      ...(row.actor_id !== null ? { actor: toActor(row, row.actor_id) } : {}),
      ...(row.repo_id !== null ? { repo: toRepo(row, row.repo_id) } : {}),
    }))
  }
  const ask = perTick(read, maxBatch)

  return {
    current: async (query) => (query.tokenHash || query.repo ? ask(query) : {}),

    async repoById(id) {
      const [row] = await db.query<RepoRow>(
        named(
          'versions-repo',
          sql`
        SELECT ${repoColumns} FROM repositories r JOIN namespaces n ON n.id = r.namespace_id WHERE r.id = ${id} AND r.deleted_at IS NULL`,
        ),
      )
      return row && toRepo(row, id)
    },

    async actorByToken(tokenId) {
      const [row] = await db.query<ActorRow>(
        named(
          'versions-token',
          sql`
        SELECT ${actorColumns} FROM tokens t JOIN namespaces a ON a.id = t.namespace_id WHERE t.id = ${tokenId} AND ${isLiveToken}`,
        ),
      )
      return row && row.actor_id !== null ? toActor(row, row.actor_id) : undefined
    },

    changing: (_subject, change) => change(),
  }
}

const toActor = (row: ActorRow, id: number): ActorState => ({
  id,
  kind: row.kind,
  name: row.actor_name,
  fullName: row.full_name,
  email: row.email,
  isAdmin: row.is_admin,
  accessVer: row.actor_access_ver,
  token: { id: row.token_id, name: row.token_name, role: row.role, createdAt: row.token_created_at, expiresAt: row.expires_at },
})

export const toRepo = (row: RepoRow, id: number): RepoState => ({
  id,
  type: row.type,
  namespaceId: row.namespace_id,
  namespace: row.namespace,
  name: row.repo_name,
  visibility: row.visibility,
  gated: row.gated,
  disabled: row.disabled,
  headRef: row.head_ref.toString('latin1'),
  sdk: row.sdk,
  bytes: row.bytes,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  versions: {
    refsVer: row.refs_ver,
    packsVer: row.packs_ver,
    gcEpoch: row.gc_epoch,
    purgeEpoch: row.purge_epoch,
    accessVer: row.repo_access_ver,
  },
})
