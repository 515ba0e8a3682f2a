import { oidBytes, oidFromBytes } from '../../protocol/oid.js'
import { checkRefName, isReservedRef, refText } from '../../protocol/ref-name.js'
import { zeroOid, type Oid, type RefName } from '../../protocol/types.js'
import { listRefLog, wasRecentTip, type RefLogPage } from '../db/ref-log.js'
import type { RepoState } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { Answers } from '../packs/answers.js'
import type { Snapshot } from '../packs/snapshot.js'
import type { CommitAuthor } from './create-repo.js'
import { createReceivePort, type PushDependencies } from './receive-push.js'

/** One step of one ref. */
export interface RefStep {
  readonly id: number
  readonly name: RefName
  /** Null: it was made. */
  readonly oldOid: Oid | null
  /** Null: it was deleted. */
  readonly newOid: Oid | null
  /** Null: the hub itself. */
  readonly actor: string | null
  readonly at: Date
}

export interface RefHistoryDependencies extends PushDependencies {
  readonly answers: Pick<Answers, 'answerFor'>
  readonly maxRefs: number
  readonly maxBinaryBytes: number
  /** How long what a ref was can be had back. */
  readonly retentionMs: number
}

export interface RestoreRequest {
  readonly name: RefName
  readonly oid: Oid
  readonly actor: CommitAuthor
  readonly authorise: () => Promise<boolean>
  readonly signal: AbortSignal
}

/** What refs were, and the way back. */
export interface RefHistory {
  /** Newest first. */
  listRefSteps(repo: RepoState, page: RefLogPage): Promise<readonly RefStep[]>
  /**
   * Has a branch or tag be at what some ref of the repository was at within the retention time, whether it is there now or not. What had become
   * garbage is stored anew, as if it had been pushed.
   * @throws HubError `not-found` when no ref was there, or the objects are gone; `invalid` with the reason when the ref may not be there;
   *   `conflict` when it moved meanwhile
   */
  restoreRef(repo: RepoState, request: RestoreRequest): Promise<void>
}

export function createRefHistory(deps: RefHistoryDependencies): RefHistory {
  return {
    async listRefSteps(repo, page) {
      const rows = await listRefLog(deps.db, repo.id, page)
      const oidOrNull = (bytes: Buffer | null) => bytes && oidFromBytes(bytes)
      return rows.map(({ name, oldOid, newOid, ...row }) => ({
        ...row,
        name: name.toString('latin1') as RefName,
        oldOid: oidOrNull(oldOid),
        newOid: oidOrNull(newOid),
      }))
    },
    restoreRef: (repo, request) => restoreRef(deps, repo, request),
  }
}

async function restoreRef(deps: RefHistoryDependencies, repo: RepoState, { name, oid, actor, authorise, signal }: RestoreRequest): Promise<void> {
  const complaint = checkRefName(name) ?? (isReservedRef(name) ? 'it is kept for the hub' : undefined)
  if (complaint !== undefined) throw new HubError('invalid', `${refText(name)}: ${complaint}`)
  const { db, packs, slices, maxRefs, maxBinaryBytes } = deps
  const view = await packs.openSnapshot(repo.id)
  try {
    const bytes = oidBytes(oid)
    const known = view.find(bytes, 'credit') !== -1 || (await wasRecentTip(db, repo.id, bytes, deps.retentionMs))
    if (!known || view.find(bytes, 'read') === -1)
      throw new HubError('not-found', `nothing in ${repo.namespace}/${repo.name} was at ${oid} lately, or it is gone for good`)
    const oldOid = view.refs.find(name)?.oid ?? zeroOid
    if (oldOid === oid) return
    const port = createReceivePort(deps, { repo, actor, authorise, signal, maxRefs, maxBinaryBytes })
    const request = { commands: [{ name, oldOid, newOid: oid }], atomic: true, pushOptions: [] }
    const staged = await port.stage(missingPack(deps, view, oid, actor, signal), request, { slices: slices(signal) })
    try {
      const [result] = await port.apply(staged, request, () => undefined)
      if (result?.kind === 'refused') throw new HubError('conflict', `${refText(name)}: ${result.reason}`)
    } finally {
      await staged.dispose()
    }
  } finally {
    view.release()
  }
}

/** What may not be relied on is brought as a push would bring it. Undefined: nothing. */
function missingPack(
  { answers, slices }: RefHistoryDependencies,
  view: Snapshot,
  oid: Oid,
  actor: CommitAuthor,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> | undefined {
  if (view.find(oidBytes(oid), 'credit') !== -1) return undefined
  const haves = [...new Set(view.refs.list.map((ref) => ref.oid))]
  return answers.answerFor(`user ${actor.id}`)(
    view,
    { wants: [oid], haves, thinPack: false, ofsDelta: true, includeTag: false },
    { slices: slices(signal) },
  )
}
