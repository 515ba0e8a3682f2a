import type { LfsOid } from '../../lfs/types.js'
import { encodeCommit } from '../../protocol/objects/commit.js'
import { hashObject } from '../../protocol/objects/hash.js'
import { oidFromBytes } from '../../protocol/oid.js'
import type { Slices } from '../../protocol/ports.js'
import { checkRefName, refText } from '../../protocol/ref-name.js'
import { objectTypes, zeroOid, type ObjectType, type Oid, type RefName } from '../../protocol/types.js'
import { databaseTime } from '../db/repositories.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { StagedRepoPack } from '../packs/checked-pack.js'
import { applyUpdate, type UpdateDependencies } from './apply-update.js'
import { judgeLargeFiles } from './large-file-policy.js'
import { streamPack, type PackObject } from './pack-stream.js'
import { planUpload } from './plan-upload.js'
import { mergeTree } from './tree-merge.js'
import { createUpdateId } from './update-id.js'
import { readUploadBase } from './upload-base.js'
import { parseUploadPath } from './upload-path.js'
import type { SpooledFile } from './upload-spool.js'

export interface UploadedFile {
  /** As its sender calls it: a name, or a path when a folder was picked. */
  readonly name: string
  readonly content: SpooledFile
}

/** Who signs the commit. */
export interface UploadActor {
  readonly id: number
  readonly name: string
  readonly fullName: string | null
  readonly email: string | null
  readonly accessVer: number
}

export interface UploadRequest {
  readonly repo: RepoState
  readonly actor: UploadActor
  /** Without `refs/heads/`; made when it is not there. */
  readonly branch: string
  /** Where in the repository; '' for the top. */
  readonly folder: string
  readonly files: readonly UploadedFile[]
  /** First line; '': one is made. */
  readonly summary: string
  readonly description: string
  /** Decides access afresh. */
  readonly authorise: () => Promise<boolean>
  readonly signal: AbortSignal
}

/** `unchanged`: the branch holds exactly these files already. */
export type UploadOutcome = { readonly kind: 'committed'; readonly commit: Oid } | { readonly kind: 'unchanged' }

export interface UploadDependencies extends UpdateDependencies {
  readonly largeFiles: Pick<LargeFiles, 'find' | 'claim' | 'receive'>
  readonly slices: (signal: AbortSignal) => Slices
  readonly maxRefs: number
  /** Of the pack of one commit. */
  readonly maxPackBytes: number
  /** Binary files over this are for git-lfs. */
  readonly maxBinaryBytes: number
}

/**
 * One commit with these files, on top of the branch as it stands. Large ones are kept as large objects first, and the commit has their pointers.
 * @throws HubError `invalid` for paths, a branch or files that no commit can have; `conflict` when the branch moved meanwhile, `forbidden`,
 * `repo-not-found`, `too-large`, `storage-full`, `unavailable`. Then the repository is as it was
 */
export async function uploadFiles(deps: UploadDependencies, request: UploadRequest): Promise<UploadOutcome> {
  const { repo, signal } = request
  if (request.files.length === 0) throw new HubError('invalid', 'no file was picked')
  const branch = parseBranch(request.branch)
  const files = request.files.map(({ name, content }) => ({ path: parseUploadPath(request.folder, name), content }))
  const slices = deps.slices(signal)
  const snapshot = await deps.packs.openSnapshot(repo.id)
  try {
    const head = snapshot.refs.find(branch)?.oid
    if (head === undefined && snapshot.refs.count >= deps.maxRefs)
      throw new HubError('invalid', `the repository has ${deps.maxRefs} refs, and no room for another branch`)
    // A new branch goes on from the default one, as it would in a clone.
    const parent = head ?? snapshot.refs.find(snapshot.refs.head)?.oid
    const base = await readUploadBase(snapshot, parent)
    const plan = await planUpload(files, base, slices, deps)
    const { tree, made } = await mergeTree(base.tree, plan.changes, base.readTree)
    if (tree === base.tree && head !== undefined) return { kind: 'unchanged' }

    await keepLargeObjects(deps, request, plan.large)
    const message = messageOf(
      request,
      files.map(({ path }) => path),
    )
    const author = identOf(request.actor)
    const commit = encodeCommit({ tree, parents: parent === undefined ? [] : [parent], author, committer: author, message })
    const oid = nameOf(objectTypes.commit, commit)
    const objects: PackObject[] = [
      { type: objectTypes.commit, data: () => commit },
      ...[...made.values()].map((data) => ({ type: objectTypes.tree, data: () => data })),
      ...plan.blobs.values(),
    ]
    await commitPack(deps, request, { branch, oldOid: head ?? zeroOid, newOid: oid, objects, slices })
    return { kind: 'committed', commit: oid }
  } finally {
    snapshot.release()
  }
}

/** @throws HubError `invalid` */
function parseBranch(branch: string): RefName {
  const name = `refs/heads/${Buffer.from(branch, 'utf8').toString('latin1')}` as RefName
  const complaint = branch === '' ? 'it is empty' : checkRefName(name)
  if (complaint !== undefined) throw new HubError('invalid', `${JSON.stringify(branch.slice(0, 200))} cannot be the name of a branch: ${complaint}`)
  return name
}

async function keepLargeObjects(
  { largeFiles }: UploadDependencies,
  { repo, actor, signal }: UploadRequest,
  large: readonly SpooledFile[],
): Promise<void> {
  if (large.length === 0) return
  const objects = large.map(({ sha256, size }) => ({ oid: sha256, size }))
  // Here are the bytes, so nobody needs to be asked where else they can be read.
  const linked = await largeFiles.claim({ repoId: repo.id, objects, mayRead: () => false })
  for (const content of large) {
    const { sha256, size } = content
    if (!linked.has(sha256)) await largeFiles.receive({ oid: sha256, size, repoId: repo.id, actorId: actor.id, signal }, content.chunks())
  }
}

interface NewCommit {
  readonly branch: RefName
  readonly oldOid: Oid
  readonly newOid: Oid
  readonly objects: readonly PackObject[]
  readonly slices: Slices
}

/** The road of every push: stage, publish, the one transaction. */
async function commitPack(deps: UploadDependencies, request: UploadRequest, commit: NewCommit): Promise<void> {
  const { repo, actor, signal } = request
  const updateId = createUpdateId()
  const startedAt = await databaseTime(deps.db)
  const staged = await deps.packs.stage(streamPack(commit.objects), {
    updateId,
    newOids: [commit.newOid],
    source: 'api',
    slices: commit.slices,
    signal,
    turnKeys: [`repository ${repo.id}`, `user ${actor.id}`],
    open: () => deps.packs.openSnapshot(repo.id),
  })
  try {
    const lfsOids = await judge(deps, repo, staged, commit)
    await staged.publish()
    const [result] = await applyUpdate(deps, {
      repoId: repo.id,
      updateId,
      staged,
      commands: [{ name: commit.branch, oldOid: commit.oldOid, newOid: commit.newOid }],
      atomic: true,
      lfsOids,
      actorId: actor.id,
      accessVersions: { repo: repo.versions.accessVer, actor: actor.accessVer },
      authorise: request.authorise,
      pushOptions: [],
      startedAt,
      action: 'repo.upload',
    })
    if (result?.kind === 'refused') {
      throw new HubError('conflict', `Nothing was committed to ${refText(commit.branch).slice('refs/heads/'.length)}: ${inWords(result.reason)}`)
    }
  } finally {
    await staged.dispose()
  }
}

/** Refs are compared and swapped: somebody else was first. */
const inWords = (reason: string): string =>
  /^(incorrect old value provided|reference already exists)$/.test(reason) ? 'the branch moved while the files were on their way. Try again.' : reason

/** @throws HubError `invalid` for what a push would be refused for. What the commit's pointers stand for, else */
async function judge(
  deps: UploadDependencies,
  repo: RepoState,
  { view, pointers, binaries }: StagedRepoPack,
  { newOid, slices }: NewCommit,
): Promise<readonly LfsOid[]> {
  const { largeFiles, maxBinaryBytes } = deps
  const { refusal, lfsOids } = await judgeLargeFiles({
    repoId: repo.id,
    view,
    pointers,
    binaries,
    tips: [newOid],
    largeFiles,
    maxBinaryBytes,
    slices,
  })
  if (refusal !== undefined) throw new HubError('invalid', refusal)
  return lfsOids
}

const nameOf = (type: ObjectType, data: Uint8Array): Oid => oidFromBytes(hashObject(type, data))

function messageOf({ summary, description }: UploadRequest, paths: readonly string[]): string {
  const first = clean(summary).replace(/\s+/g, ' ') || (paths.length === 1 ? `Upload ${paths[0]}` : `Upload ${paths.length} files`)
  const more = clean(description)
  return more === '' ? `${first}\n` : `${first}\n\n${more}\n`
}

/** As browsers send lines, and without what no commit can hold. */
const clean = (text: string): string => text.replaceAll('\r\n', '\n').replaceAll('\r', '\n').replaceAll('\0', '').trim()

function identOf({ name, fullName, email }: UploadActor) {
  const plain = (text: string | null): string => (text ?? '').replace(/[<>\x00-\x1f\x7f]/g, '').trim()
  return {
    name: plain(fullName) || name,
    email: plain(email) || `${name}@users.noreply`,
    seconds: Math.floor(Date.now() / 1000),
    timezone: '+0000',
  }
}
