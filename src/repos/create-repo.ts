import { zeroOid, type RefName } from '../../protocol/types.js'
import { appendAudit } from '../db/audit.js'
import type { Database } from '../db/pool.js'
import { databaseTime, insertHiddenRepository, isNameTaken, markRepositoryDeleted, type Visibility } from '../db/repositories.js'
import type { RepoPath, RepoState, Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { Packs } from '../packs/packs.js'
import type { Slices } from '../../protocol/ports.js'
import { defaultAttributes } from './attributes.js'
import { buildRootCommit, type CommitFile } from './commit-builder.js'
import { streamPack } from './pack-stream.js'
import { nameTaken, revealRepo } from './reveal-repo.js'
import { createUpdateId } from './update-id.js'

/** Who signs commits that the hub makes for somebody. */
export interface CommitAuthor {
  readonly id: number
  readonly name: string
  readonly accessVer: number
}

export interface CreateRepoRequest {
  readonly actor: CommitAuthor
  readonly path: RepoPath
  readonly namespaceId: number
  readonly visibility: Visibility
  /** Without a first commit: for importing history. */
  readonly empty: boolean
  readonly sdk?: string | undefined
  readonly license?: string | undefined
  /** Files of the first commit; one of the same path takes the place of a default file. */
  readonly files?: readonly CommitFile[] | undefined
}

export interface CreateRepoDependencies {
  readonly db: Database
  readonly packs: Packs
  readonly versions: Versions
  readonly slices: (signal: AbortSignal) => Slices
}

/**
 * Makes a repository. It becomes visible together with its `initial commit`, in one transaction.
 * @throws HubError `already-exists`; `invalid` for files no commit can hold
 */
export async function createRepo(deps: CreateRepoDependencies, request: CreateRepoRequest): Promise<RepoState> {
  const { db, packs } = deps
  const { path, namespaceId, actor } = request
  if (await isNameTaken(db, namespaceId, path.type, path.name)) throw nameTaken(path)
  const commit = request.empty ? undefined : buildRootCommit(firstFiles(request), 'initial commit\n', authorOf(actor))
  const repoId = await insertHiddenRepository(db, { namespaceId, type: path.type, name: path.name, visibility: request.visibility, sdk: request.sdk })

  const updateId = createUpdateId()
  const startedAt = await databaseTime(db)
  const neverLeaves = new AbortController().signal
  const staged =
    commit &&
    (await packs.stage(streamPack(commit.objects), {
      updateId,
      newOids: [commit.oid],
      source: 'api',
      slices: deps.slices(neverLeaves),
      signal: neverLeaves,
      turnKeys: [`user ${actor.id}`],
      open: () => packs.openSnapshot(repoId),
    }))
  try {
    await staged?.publish()
    return await revealRepo(deps, path, {
      repoId,
      updateId,
      staged,
      actorId: actor.id,
      startedAt,
      action: 'repo.create',
      commands: commit ? [{ name: 'refs/heads/main' as RefName, oldOid: zeroOid, newOid: commit.oid }] : [],
      accessVersions: { repo: 1, actor: actor.accessVer },
      authorise: async () => true, // creating was decided a moment ago, and the repository is nobody's yet
    })
  } finally {
    await staged?.dispose()
  }
}

/** Hides a repository at once. Its bytes stay for the retention time. */
export async function deleteRepo({ db, versions }: Pick<CreateRepoDependencies, 'db' | 'versions'>, repo: RepoState, actorId: number): Promise<void> {
  const hide = (): Promise<void> =>
    db.transaction(async (tx) => {
      if (!(await markRepositoryDeleted(tx, repo.id))) throw new HubError('repo-not-found', 'Repository not found')
      await appendAudit(tx, {
        actorId,
        action: 'repo.delete',
        repoId: repo.id,
        namespaceId: repo.namespaceId,
        details: { type: repo.type, name: repo.name },
      })
    })
  await versions.changing({ repoId: repo.id }, hide)
}

function firstFiles({ path, files = [], license, sdk }: CreateRepoRequest): CommitFile[] {
  const made = new Map<string, Uint8Array>([['.gitattributes', Buffer.from(defaultAttributes(path.type))]])
  const card = frontMatter(path, license, sdk)
  if (card) made.set('README.md', Buffer.from(card))
  for (const { path: name, content } of files) made.set(name, content)
  return [...made].map(([name, content]) => ({ path: name, content }))
}

function frontMatter({ type, name }: RepoPath, license: string | undefined, sdk: string | undefined): string | undefined {
  const lines = [
    ...(type === 'space' ? [`title: ${JSON.stringify(name)}`, ...(sdk === undefined ? [] : [`sdk: ${JSON.stringify(sdk)}`])] : []),
    ...(license === undefined ? [] : [`license: ${/^[a-z0-9][a-z0-9.+-]*$/.test(license) ? license : JSON.stringify(license)}`]),
  ]
  return lines.length === 0 ? undefined : `---\n${lines.join('\n')}\n---\n`
}

const authorOf = ({ name }: CommitAuthor) => ({ name, email: `${name}@users.noreply`, seconds: Math.floor(Date.now() / 1000), timezone: '+0000' })
