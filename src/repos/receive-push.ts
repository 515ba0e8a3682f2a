import type { ReceivePort, Slices, StagedPack } from '../../protocol/ports.js'
import { zeroOid, type CommandResult, type PushCommand } from '../../protocol/types.js'
import { databaseTime } from '../db/repositories.js'
import type { RepoState } from '../db/versions.js'
import type { LargeFiles } from '../large-files/large-files.js'
import type { StagedRepoPack } from '../packs/checked-pack.js'
import { applyUpdate, type UpdateDependencies } from './apply-update.js'
import { judgeLargeFiles } from './large-file-policy.js'
import { applyPushPolicy } from './push-policy.js'
import { createUpdateId } from './update-id.js'

export interface PushContext {
  readonly repo: RepoState
  readonly actor: { readonly id: number; readonly accessVer: number }
  /** Decides access afresh. */
  readonly authorise: () => Promise<boolean>
  readonly signal: AbortSignal
  readonly maxRefs: number
  /** What a binary file may have outside git-lfs, bytes. */
  readonly maxBinaryBytes: number
}

export interface PushDependencies extends UpdateDependencies {
  readonly largeFiles: Pick<LargeFiles, 'find'>
  readonly slices: (signal: AbortSignal) => Slices
}

/** One push to one repository: spool and check, policy, publish, the one transaction. */
export function createReceivePort(deps: PushDependencies, context: PushContext): ReceivePort {
  const { db, packs } = deps
  const { repo, actor } = context
  const updateId = createUpdateId()
  let staged: StagedRepoPack | undefined
  let startedAt: Date | undefined

  return {
    async stage(pack, request, { slices, onProgress }): Promise<StagedPack> {
      const newOids = request.commands.map(({ newOid }) => newOid).filter((oid) => oid !== zeroOid)
      staged = await packs.stage(pack, {
        updateId,
        newOids,
        source: 'receive',
        slices,
        signal: context.signal,
        turnKeys: [`repository ${repo.id}`, `user ${actor.id}`],
        ...(onProgress ? { onProgress } : {}),
        open: async () => {
          const [now, snapshot] = await Promise.allSettled([databaseTime(db), packs.openSnapshot(repo.id)])
          if (snapshot.status === 'rejected') throw snapshot.reason
          if (now.status === 'rejected') {
            snapshot.value.release()
            throw now.reason
          }
          startedAt = now.value // the last byte is here: from now on the push has its hour
          return snapshot.value
        },
      })
      return staged
    },

    async apply(given, request, say): Promise<readonly CommandResult[]> {
      if (!staged || given !== staged || !startedAt) throw new Error('apply takes what stage of the same push gave')
      const { commands, atomic } = request
      const { view, pointers, binaries } = staged
      const { refusal, advice, lfsOids } = await judgeLargeFiles({
        repoId: repo.id,
        view,
        pointers,
        binaries,
        tips: commands.map(({ newOid }) => newOid).filter((oid) => oid !== zeroOid),
        largeFiles: deps.largeFiles,
        maxBinaryBytes: context.maxBinaryBytes,
        slices: deps.slices(context.signal),
      })
      advice.forEach(say)
      const { accepted, refused } = await applyPushPolicy({ view, refusal, commands, maxRefs: context.maxRefs })
      if (accepted.length === 0 || (atomic && refused.size > 0)) {
        return commands.map(({ name }) => ({ name, kind: 'refused', reason: refused.get(name) ?? 'atomic push failure' }))
      }
      if (accepted.some(({ newOid }) => newOid !== zeroOid)) await staged.publish()
      const results = await applyUpdate(deps, {
        repoId: repo.id,
        updateId,
        staged,
        commands: accepted,
        atomic,
        lfsOids,
        actorId: actor.id,
        startedAt,
        accessVersions: { repo: repo.versions.accessVer, actor: actor.accessVer },
        authorise: context.authorise,
        pushOptions: request.pushOptions,
        action: 'repo.push',
      })
      setImmediate(() => void lookAgain(packs, repo.id))
      return inOrder(commands, refused, results)
    },
  }
}

/** So that whoever asks next, and it is seldom long, finds the repository in memory as it is now. When it cannot be had, he will hear why. */
const lookAgain = (packs: PushDependencies['packs'], repoId: number): Promise<void> =>
  packs.openSnapshot(repoId).then(
    (snapshot) => snapshot.release(),
    () => undefined,
  )

function inOrder(commands: readonly PushCommand[], refused: ReadonlyMap<string, string>, results: readonly CommandResult[]): CommandResult[] {
  const applied = new Map(results.map((result) => [result.name, result]))
  return commands.map(({ name }) => applied.get(name) ?? { name, kind: 'refused', reason: refused.get(name) ?? 'failed to update ref' })
}
