import { oidBytes, oidFromBytes } from '../../protocol/oid.js'
import { zeroOid, type CommandResult, type Oid, type Ref, type RefName } from '../../protocol/types.js'
import { appendEvent } from '../db/outbox.js'
import { appendAudit } from '../db/audit.js'
import { renewLinks } from '../db/large-objects.js'
import { CommitOutcomeUnknown, isLockTimeout, type Database, type Transaction } from '../db/pool.js'
import { appendRefLog } from '../db/ref-log.js'
import { deleteRefs, findRefsAndHead, insertRefs, moveRefs, namesWithRefsBelow, type RefRow } from '../db/refs.js'
import { lockRepository, stepRepository, type LockedRepository } from '../db/repositories.js'
import { markDone, settleUnknownUpdate } from '../db/updates.js'
import { HubError } from '../errors.js'
import type { Versions } from '../db/versions.js'
import type { Packs } from '../packs/packs.js'
import { lockPackBlobs, recordPack } from '../packs/publish.js'
import type { StagedRepoPack } from '../packs/checked-pack.js'
import { chooseHead, decideRefChanges, parentNames, visibilityClass, type RefChanges, type UpdateCommand } from './ref-changes.js'

/** From its last byte a push may take this long, by the database's clock. Every grace period of gc is longer. */
export const maxUpdateMs = 60 * 60_000
const maxAttempts = 5
/** Other updates hold the repository's lock for milliseconds; who waits this long says so. */
const rowLockWaitMs = 10_000

export interface Update {
  readonly repoId: number
  /** UUIDv7, new for every update. */
  readonly updateId: string
  /** Checked and published; undefined: nothing to add. */
  readonly staged?: StagedRepoPack | undefined
  readonly commands: readonly UpdateCommand[]
  readonly atomic: boolean
  /** SHA-256 of every large object the new objects point at. */
  readonly lfsOids: readonly string[]
  /** Null: the hub itself. */
  readonly actorId: number | null
  /** The access versions that the request's decision was made on. */
  readonly accessVersions: { readonly repo: number; readonly actor: number | undefined }
  /** Decides access afresh; called outside the transaction when an access version moved. */
  readonly authorise: () => Promise<boolean>
  readonly pushOptions: readonly string[]
  /** The database's clock when the last byte had arrived. */
  readonly startedAt: Date
  /** What the audit log says: `repo.push`, `repo.create`. */
  readonly action: string
  /** Makes a hidden repository visible together with its first refs. */
  readonly reveal?: boolean
  /** What else is taken from another repository, in the same transaction. */
  readonly copies?: Copies | undefined
  /** What the audit log says beside. Plain JSON. */
  readonly details?: object | undefined
}

/** What an update takes from another repository. Each may be called again, when the transaction is tried again; what is thrown gives the update up. */
export interface Copies {
  /** First of all. */
  lock(tx: Transaction): Promise<void>
  /** Under the lock of the repository, once what is staged cannot be deleted any more. Bytes of the packs that were added. */
  take(tx: Transaction, locked: LockedRepository): Promise<number>
}

export interface UpdateDependencies {
  readonly db: Database
  readonly packs: Packs
  readonly versions: Pick<Versions, 'changing'>
}

/** The transaction has to be tried again with what was learned. */
type Retry = { readonly kind: 'epoch' } | { readonly kind: 'access'; readonly locked: LockedRepository } | { readonly kind: 'keep' }

class RollBack extends Error {
  readonly outcome: Retry | readonly CommandResult[]
  constructor(outcome: Retry | readonly CommandResult[]) {
    super('transaction given up')
    this.outcome = outcome
  }
}

/**
 * The one way a repository changes: adds a pack and moves refs in one transaction, with ref log, outbox and audit.
 * Push, API commits, merges and reverts all end here. See docs/git-storage.md, "stage, policy, publish, apply".
 *
 * Comes back with one result a command, in their order; a refused command is a result.
 * @throws HubError `unavailable` when nobody can say what became of the update: the caller must break off without a report
 * @throws HubError `repo-not-found` when the repository is gone, `forbidden` when access was lost meanwhile
 */
export function applyUpdate(deps: UpdateDependencies, update: Update): Promise<readonly CommandResult[]> {
  return deps.versions.changing({ repoId: update.repoId }, () => attemptUpdates(deps, update))
}

async function attemptUpdates(deps: UpdateDependencies, update: Update): Promise<readonly CommandResult[]> {
  const { db } = deps
  const known = { gcEpoch: update.staged?.basis.gcEpoch, access: update.accessVersions }
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    let results: readonly CommandResult[] = []
    try {
      await db.transaction(
        async (tx) => {
          results = await attemptUpdate(tx, update, known)
        },
        { lockTimeoutMs: rowLockWaitMs, locksFirst: true },
      )
      return results
    } catch (error) {
      if (error instanceof CommitOutcomeUnknown) return settle(deps, update, results)
      if (isLockTimeout(error)) break
      if (!(error instanceof RollBack)) throw error
      const { outcome } = error
      if (!('kind' in outcome)) return outcome
      if (outcome.kind === 'epoch') {
        const missing = await recheckExternals(deps.packs, update, known)
        if (missing.length > 0) return refuseAll(update, 'missing necessary objects')
      } else if (outcome.kind === 'access') {
        if (!(await update.authorise())) throw new HubError('forbidden', 'access was withdrawn meanwhile')
        // The decision is younger than these versions: it holds as long as they are still the ones found under the lock.
        known.access = { repo: outcome.locked.accessVer, actor: outcome.locked.actorAccessVer }
      } else {
        await update.staged?.publish()
      }
    }
  }
  return refuseAll(update, 'the repository is busy, try again')
}

const refuseAll = (update: Update, reason: string): readonly CommandResult[] => update.commands.map(({ name }) => ({ name, kind: 'refused', reason }))

async function recheckExternals(packs: Packs, update: Update, known: { gcEpoch: number | undefined }): Promise<readonly Oid[]> {
  const snapshot = await packs.openSnapshot(update.repoId)
  try {
    known.gcEpoch = snapshot.versions.gcEpoch
    return update.staged?.recheck(snapshot) ?? []
  } finally {
    snapshot.release()
  }
}

/** COMMIT got no answer. The results are known; whether they stand is asked, never guessed. */
async function settle(deps: UpdateDependencies, update: Update, results: readonly CommandResult[]): Promise<readonly CommandResult[]> {
  let outcome: 'done' | 'abandoned'
  try {
    outcome = await settleUnknownUpdate(deps.db, update.updateId)
  } catch (cause) {
    throw new HubError('unavailable', 'the database was lost while the update was committed', { cause })
  }
  return outcome === 'done' ? results : refuseAll(update, 'the database was lost during the update, try again')
}

type Known = { readonly gcEpoch: number | undefined; readonly access: Update['accessVersions'] }

/** What does not need the answer of what was asked before it is sent along: a push waits for the database four times, and not twelve. */
async function attemptUpdate(tx: Transaction, update: Update, known: Known): Promise<readonly CommandResult[]> {
  const { repoId, staged, copies } = update
  await copies?.lock(tx)
  const [locked, refs] = await Promise.all([
    lockRepository(tx, repoId, update.actorId),
    findRefsAndHead(tx, repoId, namesAsked(update.commands).map(bytesOf)),
  ])
  if (!locked || (locked.deleted && !update.reveal)) throw new HubError('repo-not-found', 'Repository not found')
  if (locked.now.getTime() - update.startedAt.getTime() > maxUpdateMs) throw new RollBack(refuseAll(update, 'the update took over an hour'))
  if (staged && locked.gcEpoch !== known.gcEpoch) throw new RollBack({ kind: 'epoch' })
  if (locked.accessVer !== known.access.repo || locked.actorAccessVer !== known.access.actor) throw new RollBack({ kind: 'access', locked })
  if (staged && !(await lockPackBlobs(tx, staged))) throw new RollBack({ kind: 'keep' })
  const copiedBytes = (await copies?.take(tx, locked)) ?? 0
  const wanted = new Set(update.lfsOids)
  if ((await renewLinks(tx, repoId, [...wanted])).length < wanted.size)
    throw new RollBack(refuseAll(update, 'git-lfs objects are missing: send them again'))

  const head = locked.headRef.toString('latin1') as RefName
  const { changes, headExists } = await decide(tx, update, head, refs.map(toRef))
  if (changes.deletes.length + changes.moves.length + changes.creates.length === 0 && !update.reveal) throw new RollBack(changes.results)
  const accepted = [...changes.moves.map(({ command }) => command), ...changes.creates]
  const pack = accepted.length > 0 ? staged?.pack : undefined
  const [, isNew, , isOurs] = await Promise.all([
    writeRefs(tx, repoId, changes),
    pack && recordPack(tx, pack, { repoId, updateId: update.updateId, visibility: mostVisible(accepted), changedVer: locked.packsVer + 1 }),
    writeHistories(tx, update, changes),
    markDone(tx, update.updateId, repoId),
  ])
  if (!isOurs) throw new RollBack(refuseAll(update, 'the update was given up'))
  const newHead = chooseHead(head, headExists, changes.creates, update.commands)
  await stepRepository(tx, repoId, {
    refsChanged: true,
    packsChanged: pack !== undefined || copiedBytes > 0,
    addedBytes: copiedBytes + (pack && isNew ? pack.bytes : 0),
    ...(newHead === undefined ? {} : { headRef: Buffer.from(newHead, 'latin1') }),
    reveal: update.reveal ?? false,
  })
  return changes.results
}

/** The visibility class that the objects of an update get. */
const mostVisible = (accepted: readonly UpdateCommand[]): 0 | 1 | 2 =>
  accepted.reduce<0 | 1 | 2>((least, { name }) => {
    const own = visibilityClass(name)
    return own < least ? own : least
  }, 2)

/** The refs that decide what commands come to, but for the one that HEAD names. */
function namesAsked(commands: readonly UpdateCommand[]): RefName[] {
  const names = new Set(commands.map(({ name }) => name))
  for (const { name, oldOid } of commands) if (oldOid === zeroOid) for (const parent of parentNames(name)) names.add(parent)
  return [...names]
}

async function decide(
  tx: Transaction,
  { commands, atomic, repoId }: Update,
  head: RefName,
  refs: readonly Ref[],
): Promise<{ changes: RefChanges; headExists: boolean }> {
  const current = new Map(refs.map((ref) => [ref.name, ref]))
  // Which refs leave is known only after a first look; what stands below the new names, only given those.
  const first = decideRefChanges(commands, current, new Set(), head, atomic)
  const blocked = await namesWithRefsBelow(
    tx,
    repoId,
    first.creates.map(({ name }) => bytesOf(name)),
    first.deletes.map(({ name }) => bytesOf(name)),
  )
  const changes =
    blocked.length === 0
      ? first
      : decideRefChanges(commands, current, new Set(blocked.map((name) => name.toString('latin1') as RefName)), head, atomic)
  return { changes, headExists: current.has(head) }
}

async function writeRefs(tx: Transaction, repoId: number, { deletes, moves, creates }: RefChanges): Promise<void> {
  const [deleted, moved, created] = await Promise.all([
    deleteRefs(
      tx,
      repoId,
      deletes.map((ref) => ({ name: bytesOf(ref.name), oldOid: oidBytes(ref.oid) })),
    ),
    moveRefs(
      tx,
      repoId,
      moves.map(({ command, old }) => ({ ...rowOf(command), oldOid: oidBytes(old.oid) })),
    ),
    insertRefs(tx, repoId, creates.map(rowOf)),
  ])
  // Under the repository's lock nobody else moves refs; anything else is a bug, and nothing of it may be committed.
  if (deleted !== deletes.length || moved !== moves.length || created !== creates.length) {
    throw new HubError('conflict', `refs of repository ${repoId} moved under its lock`)
  }
}

async function writeHistories(tx: Transaction, update: Update, { deletes, moves, creates }: RefChanges): Promise<void> {
  const steps = [
    ...deletes.map((ref) => ({ name: ref.name, oldOid: ref.oid, newOid: null, peeled: undefined })),
    ...moves.map(({ command, old }) => ({ name: command.name, oldOid: old.oid, newOid: command.newOid, peeled: command.peeled })),
    ...creates.map((command) => ({ name: command.name, oldOid: null, newOid: command.newOid, peeled: command.peeled })),
  ]
  const bytesOrNull = (oid: Oid | null | undefined) => (oid ? oidBytes(oid) : null)
  await Promise.all([
    appendRefLog(
      tx,
      update.repoId,
      update.updateId,
      update.actorId,
      steps.map((step) => ({
        name: bytesOf(step.name),
        oldOid: bytesOrNull(step.oldOid),
        newOid: bytesOrNull(step.newOid),
        newPeeled: bytesOrNull(step.peeled),
      })),
    ),
    appendEvent(tx, update.repoId, 'refs-updated', { updateId: update.updateId, refs: steps.length }),
    appendAudit(tx, {
      actorId: update.actorId,
      action: update.action,
      repoId: update.repoId,
      details: { updateId: update.updateId, refs: steps.length, pushOptions: update.pushOptions, ...update.details },
    }),
  ])
}

const bytesOf = (name: RefName): Buffer => Buffer.from(name, 'latin1')

const rowOf = (command: UpdateCommand): RefRow => ({
  name: bytesOf(command.name),
  oid: oidBytes(command.newOid),
  peeled: command.peeled ? oidBytes(command.peeled) : null,
})

const toRef = (row: RefRow): Ref => ({
  name: row.name.toString('latin1') as RefName,
  oid: oidFromBytes(row.oid),
  ...(row.peeled ? { peeled: oidFromBytes(row.peeled) } : {}),
})
