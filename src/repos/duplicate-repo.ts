import { ProtocolError } from '../../protocol/errors.js'
import type { Slices } from '../../protocol/ports.js'
import { zeroOid, type Oid, type Ref } from '../../protocol/types.js'
import { findLinkedObjects, linkFromRepositories, type ObjectRow } from '../db/large-objects.js'
import { markCollected } from '../db/packs.js'
import type { Database } from '../db/pool.js'
import { databaseTime, insertHiddenRepository, isNameTaken, lockCopySource, type Visibility } from '../db/repositories.js'
import type { RepoPath, RepoState, Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { StagedRepoPack } from '../packs/checked-pack.js'
import { markOfClass, type Classified, type Classify } from '../packs/collect/classify.js'
import type { Repack } from '../packs/collect/repack-here.js'
import type { FindPointers } from '../packs/find-pointers.js'
import type { Packs } from '../packs/packs.js'
import { findExactPacks, sharePacks } from '../packs/share-packs.js'
import type { Snapshot } from '../packs/snapshot.js'
import { Turns } from '../packs/turns.js'
import type { Copies } from './apply-update.js'
import type { CommitAuthor } from './create-repo.js'
import { isCopied } from './ref-changes.js'
import { nameTaken, revealRepo } from './reveal-repo.js'
import { createUpdateId } from './update-id.js'

export interface DuplicateRepoRequest {
  /** As it was when the caller was found to be allowed to read it. */
  readonly source: RepoState
  readonly actor: Pick<CommitAuthor, 'id' | 'accessVer'>
  /** Of the same type. */
  readonly path: RepoPath
  readonly namespaceId: number
  /** By default that of the source. */
  readonly visibility?: Visibility | undefined
  /** Decides afresh: whether the caller may read the source, and make a repository of that name. */
  readonly authorise: () => Promise<boolean>
  readonly signal: AbortSignal
}

export interface DuplicateRepoDependencies {
  readonly db: Database
  readonly packs: Packs
  readonly versions: Versions
  readonly classify: Classify
  readonly repack: Repack
  readonly findPointers: FindPointers
  readonly slices: (signal: AbortSignal) => Slices
}

/**
 * Makes a repository of what branches and tags of another lead to: its history, and links to its large files. See docs/git-storage.md, "Copies".
 * @throws HubError `already-exists`; `repo-not-found` when the source went, or the right to read it; `busy` when it was purged all the time;
 *   `storage-full`, `unavailable`; ProtocolError `cancelled`, `too-large`, `corrupt`
 */
export type DuplicateRepo = (request: DuplicateRepoRequest) => Promise<RepoState>

/** Of one caller, and of one source. Each may read and write all of a repository. */
const copiesAtOnce = 2
const maxTries = 5
const linksAtOnce = 5_000

/** The source is not what it was: what was made of it does not count. */
class SourceChanged extends Error {}

export function createDuplicateRepo(deps: DuplicateRepoDependencies): DuplicateRepo {
  const { db, versions } = deps
  const turns = new Turns(copiesAtOnce)
  return async (request) => {
    const { path, namespaceId, actor, signal } = request
    if (await isNameTaken(db, namespaceId, path.type, path.name)) throw nameTaken(path)
    const leave = await turns.take([`user ${actor.id}`, `repository ${request.source.id}`], signal)
    try {
      let { source } = request
      for (let tries = 0; tries < maxTries; tries++) {
        try {
          return await copyOnce(deps, { ...request, source })
        } catch (error) {
          if (!hasChanged(error, signal)) throw error
        }
        const now = await versions.repoById(source.id)
        // The decision is younger than these versions, and holds as long as they are the ones found under the lock.
        if (!now || !(await request.authorise())) throw new HubError('repo-not-found', 'Repository not found')
        source = now
      }
      throw new HubError('busy', 'the repository to be copied changes all the time')
    } finally {
      leave()
    }
  }
}

/** A purge cuts what reads of the time before it. */
const hasChanged = (error: unknown, signal: AbortSignal): boolean =>
  error instanceof SourceChanged || (error instanceof ProtocolError && error.code === 'cancelled' && !signal.aborted)

async function copyOnce(deps: DuplicateRepoDependencies, request: DuplicateRepoRequest): Promise<RepoState> {
  const { db, packs } = deps
  const { source, actor, path, namespaceId, visibility = source.visibility, signal } = request
  const view = await packs.openSnapshot(source.id)
  try {
    const refs = view.refs.list.filter(({ name }) => isCopied(name))
    const repoId = await insertHiddenRepository(db, {
      namespaceId,
      type: path.type,
      name: path.name,
      visibility,
      sdk: source.sdk,
      gated: source.gated,
      headRef: Buffer.from(view.refs.head, 'latin1'),
    })
    const updateId = createUpdateId()
    const content = await copyContent(deps, { view, tips: [...new Set(refs.map(({ oid }) => oid))], repoId, updateId, actorId: actor.id, signal })
    try {
      const largeFiles = await findLinks(db, source.id, content.lfsOids)
      const startedAt = await databaseTime(db)
      stopWhenGone(signal)
      await content.staged?.publish()
      stopWhenGone(signal)
      return await revealRepo(deps, path, {
        repoId,
        updateId,
        staged: content.staged,
        actorId: actor.id,
        startedAt,
        action: 'repo.duplicate',
        details: { source: { id: source.id, name: `${source.namespace}/${source.name}` }, sharedPacks: content.shared.length },
        commands: refs.map(toCommand),
        accessVersions: { repo: 1, actor: actor.accessVer },
        authorise: request.authorise,
        copies: copiesOf({ source, purgeEpoch: view.versions.purgeEpoch, repoId, updateId, ...content, largeFiles }),
      })
    } finally {
      await content.staged?.dispose()
    }
  } finally {
    view.release()
  }
}

function stopWhenGone(signal: AbortSignal): void {
  if (signal.aborted) throw new ProtocolError('cancelled', 'the client left')
}

/** Those that the source links: a pointer to anything else has nothing behind it there either. */
async function findLinks(db: Database, repoId: number, oids: readonly string[]): Promise<ObjectRow[]> {
  const found: ObjectRow[] = []
  for (let at = 0; at < oids.length; at += linksAtOnce) found.push(...(await findLinkedObjects(db, repoId, oids.slice(at, at + linksAtOnce))))
  return found
}

const toCommand = ({ name, oid, peeled }: Ref) => ({ name, oldOid: zeroOid, newOid: oid, ...(peeled ? { peeled } : {}) })

interface ContentRequest {
  readonly view: Snapshot
  readonly tips: readonly Oid[]
  readonly repoId: number
  readonly updateId: string
  readonly actorId: number
  readonly signal: AbortSignal
}

/** What refs lead to: in packs of the source that hold just that, by id, or in a new one. */
interface CopiedContent {
  readonly shared: readonly number[]
  /** A collection made all of them: there is nothing to be put in order. */
  readonly collected: boolean
  /** Checked, and not stored yet. To be disposed of. */
  readonly staged: StagedRepoPack | undefined
  /** Large objects that pointers name. */
  readonly lfsOids: readonly string[]
}

async function copyContent(deps: DuplicateRepoDependencies, request: ContentRequest): Promise<CopiedContent> {
  const { view, tips, signal } = request
  if (tips.length === 0) return { shared: [], collected: false, staged: undefined, lfsOids: [] }
  const options = { slices: deps.slices(signal) }
  const garbage = [...view.packs.keys()].filter((ordinal) => view.packs[ordinal]!.class === 3)
  const classified = await deps.classify(view, { tips: [tips, [], []], garbage }, options)
  const exact = (await findExactPacks(view, classified, options))?.map((ordinal) => view.packs[ordinal]!)
  if (exact) {
    const lfsOids = await deps.findPointers(view, tips, options)
    return { shared: exact.map(({ id }) => id), collected: exact.every(({ collected }) => collected), staged: undefined, lfsOids }
  }
  const staged = await writeAnew(deps, request, classified)
  return { shared: [], collected: false, staged, lfsOids: [...new Set(staged.pointers.map(({ lfsOid }) => lfsOid))] }
}

/** One pack of all that was reached, checked as a push is. */
function writeAnew({ packs, repack, slices }: DuplicateRepoDependencies, request: ContentRequest, { marks }: Classified): Promise<StagedRepoPack> {
  const { view, tips, repoId, updateId, actorId, signal } = request
  const options = { slices: slices(signal) }
  return packs.stage(repack(view, { marks, mark: markOfClass(0) }, options), {
    updateId,
    newOids: tips,
    source: 'copy',
    ...options,
    signal,
    turnKeys: [`user ${actorId}`],
    open: () => packs.openSnapshot(repoId),
  })
}

interface Copied extends CopiedContent {
  readonly source: RepoState
  /** What was read is of this time. */
  readonly purgeEpoch: number
  readonly repoId: number
  readonly updateId: string
  readonly largeFiles: readonly ObjectRow[]
}

/** Whatever moved in the source since does no harm, but for what was purged there, or who may read it. */
const copiesOf = ({ source, purgeEpoch, repoId, updateId, shared, collected, largeFiles }: Copied): Copies => ({
  async lock(tx) {
    const now = await lockCopySource(tx, source.id)
    if (!now || now.deleted) throw new HubError('repo-not-found', 'Repository not found')
    if (now.accessVer !== source.versions.accessVer || now.purgeEpoch !== purgeEpoch) throw new SourceChanged()
  },
  async take(tx, { refsVer, packsVer }) {
    let bytes: number | undefined = 0
    if (shared.length > 0) {
      bytes = await sharePacks(tx, { fromRepoId: source.id, packIds: shared, repoId, updateId, changedVer: packsVer + 1 })
      if (bytes === undefined) throw new SourceChanged()
      if (collected) await markCollected(tx, repoId, refsVer + 1)
    }
    const sorted = largeFiles.toSorted((a, b) => (a.oid < b.oid ? -1 : 1))
    for (let at = 0; at < sorted.length; at += linksAtOnce) {
      const some = sorted.slice(at, at + linksAtOnce)
      if ((await linkFromRepositories(tx, repoId, some, [source.id])).length < some.length) throw new SourceChanged()
    }
    return bytes
  },
})
