import type { FetchPort, ReceivePort, RefTable, Slices } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { Database } from '../db/pool.js'
import type { RepoState, Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { Answers } from '../packs/answers.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { Packs } from '../packs/packs.js'
import { createDuplicateRepo, type DuplicateRepo, type DuplicateRepoDependencies } from './duplicate-repo.js'
import { createRepo, deleteRepo, type CommitAuthor, type CreateRepoRequest } from './create-repo.js'
import { createReceivePort } from './receive-push.js'
import { createBundles, type Bundles } from './bundles.js'
import { createRefHistory, type RefHistory } from './ref-history.js'
import { createRepoFiles, type RepoFiles } from './repo-files.js'
import { findRevision } from './revisions.js'
import { createFetchPort } from './serve-fetch.js'
import { listCommitFiles } from './tree-reader.js'

export interface RepoSibling {
  readonly path: string
  /** Bytes of the blob. */
  readonly size: number
  readonly blobId: Oid
}

export interface RepoInfo {
  /** The commit of the revision asked for; null: the repository has no commit yet. */
  readonly sha: Oid | null
  readonly lastModified: Date
  readonly siblings: readonly RepoSibling[]
}

/** What the doors may ask of repositories. Who may ask was settled before. */
export interface Repos extends RepoFiles, RefHistory, Bundles {
  /** @throws HubError `already-exists`, `invalid` */
  createRepo(request: CreateRepoRequest): Promise<RepoState>
  readonly duplicateRepo: DuplicateRepo
  /** @throws HubError `repo-not-found` when somebody else was first */
  deleteRepo(repo: RepoState, actor: CommitAuthor): Promise<void>
  /** Of the default branch when no revision is named. @throws HubError `revision-not-found` */
  repoInfo(repo: RepoState, options?: { readonly revision?: string | undefined; readonly signal?: AbortSignal }): Promise<RepoInfo>
  /** The refs as they stand, for an advertisement. */
  readRefs(repo: RepoState): Promise<RefTable>
  /** A frozen view to fetch from, for `caller`: a user, or the address of somebody unknown. Whoever calls releases it. */
  openFetch(repo: RepoState, caller: string): Promise<FetchPort & { release(): void }>
  /** One push. `authorise` decides access afresh, in case it changes meanwhile. */
  openReceive(
    repo: RepoState,
    options: {
      readonly actor: CommitAuthor
      readonly authorise: () => Promise<boolean>
      readonly signal: AbortSignal
    },
  ): ReceivePort
  slices(signal: AbortSignal): Slices
}

export interface ReposDependencies extends DuplicateRepoDependencies {
  readonly db: Database
  readonly packs: Packs
  readonly versions: Versions
  readonly answers: Answers
  readonly slices: (signal: AbortSignal) => Slices
  readonly maxRefs: number
  readonly largeFiles: Pick<LargeFiles, 'find'>
  readonly maxBinaryBytes: number
  /** How long what a ref was can be had back. */
  readonly retentionMs: number
  /** A repository whose packs are smaller offers no bundle. */
  readonly minBundleBytes?: number
}

export function createRepos(deps: ReposDependencies): Repos {
  const { packs, answers } = deps
  return {
    createRepo: (request) => createRepo(deps, request),
    duplicateRepo: createDuplicateRepo(deps),
    deleteRepo: (repo, actor) => deleteRepo(deps, repo, actor.id),
    slices: deps.slices,
    ...createRepoFiles(deps),
    ...createRefHistory(deps),
    ...createBundles(deps),

    async repoInfo(repo, { revision, signal = new AbortController().signal } = {}) {
      const snapshot = await packs.openSnapshot(repo.id, repo.versions)
      try {
        const sha = findRevision(snapshot, revision ?? 'HEAD')?.commit
        if (sha === undefined) {
          if (revision === undefined && !snapshot.refs.find(snapshot.refs.head)) return { sha: null, lastModified: repo.updatedAt, siblings: [] }
          throw new HubError('revision-not-found', `Invalid rev id: ${revision}`)
        }
        const { committedAt, files } = await listCommitFiles(snapshot, sha, deps.slices(signal))
        return { sha, lastModified: committedAt, siblings: files.map(({ path, size, oid }) => ({ path, size, blobId: oid })) }
      } finally {
        snapshot.release()
      }
    },

    async readRefs(repo) {
      const snapshot = await packs.openSnapshot(repo.id, repo.versions)
      snapshot.release()
      return snapshot.refs // plain values: they outlive the pins
    },

    async openFetch(repo, caller) {
      const snapshot = await packs.openSnapshot(repo.id, repo.versions)
      return { ...createFetchPort(snapshot, answers, caller), release: () => snapshot.release() }
    },

    openReceive: (repo, options) => createReceivePort(deps, { repo, maxRefs: deps.maxRefs, maxBinaryBytes: deps.maxBinaryBytes, ...options }),
  }
}
