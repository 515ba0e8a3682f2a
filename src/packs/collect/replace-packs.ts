import { randomUUID } from 'node:crypto'
import { retirePacks, type PackPart } from '../../db/packs.js'
import type { Database, Transaction } from '../../db/pool.js'
import { lockRepository, stepRepository } from '../../db/repositories.js'
import type { Versions } from '../../db/versions.js'
import type { StoragePack } from '../checked-pack.js'
import { lockPackBlobs, recordPack } from '../publish.js'

export interface ReplaceDependencies {
  readonly db: Database
  readonly versions: Pick<Versions, 'changing'>
}

export interface Replacement {
  readonly repoId: number
  /** Ids of live packs. */
  readonly retired: readonly number[]
  /** What stands for them, checked and published. */
  readonly added: readonly AddedPack[]
  /** Under which it was checked; undefined: nothing is added. */
  readonly gcEpoch?: number
  /** The repository as it has to be, still; undefined: whatever came since does no harm. */
  readonly expected?: { readonly refsVer: number; readonly packsVer: number }
  /** Something may not be relied on any more. */
  readonly epochChanged?: boolean
  /** What is out of use is gone for good. */
  readonly purged?: boolean
  /** Within the same transaction. */
  readonly also?: (tx: Transaction) => Promise<void>
}

export interface AddedPack {
  readonly staged: StoragePack
  /** 3: garbage. */
  readonly visibility: 0 | 1 | 2 | 3
  readonly part?: PackPart
}

/** `stale`: one of the old packs is no longer live, or something left the classes that may be relied on since the new ones were checked. */
export type ReplaceOutcome = 'replaced' | 'stale' | 'changed'

const maxKeeps = 5
/** Pushes hold the repository's lock for milliseconds. */
const rowLockWaitMs = 10_000

class Stale extends Error {}
class Changed extends Error {}
class Deleted extends Error {}

/**
 * Puts packs in the place of others that hold the same objects, in one transaction. When it was not as expected nothing was changed.
 * See docs/git-storage.md, "Folding".
 * @throws CommitOutcomeUnknown: either all of it was done or nothing, and both are well
 */
export function replacePacks({ db, versions }: ReplaceDependencies, replacement: Replacement): Promise<ReplaceOutcome> {
  return versions.changing({ repoId: replacement.repoId }, async () => {
    for (let keeps = 0; keeps < maxKeeps; keeps++) {
      try {
        await db.transaction((tx) => replace(tx, replacement), { lockTimeoutMs: rowLockWaitMs })
        return 'replaced'
      } catch (error) {
        if (error instanceof Stale) return 'stale'
        if (error instanceof Changed) return 'changed'
        if (!(error instanceof Deleted)) throw error
        for (const { staged } of replacement.added) await staged.publish()
      }
    }
    return 'stale'
  })
}

async function replace(
  tx: Transaction,
  { repoId, retired, added, gcEpoch, expected, epochChanged = false, purged = false, also }: Replacement,
): Promise<void> {
  const locked = await lockRepository(tx, repoId, null)
  if (!locked || locked.deleted || (gcEpoch !== undefined && gcEpoch !== locked.gcEpoch)) throw new Stale()
  if (expected && (expected.refsVer !== locked.refsVer || expected.packsVer !== locked.packsVer)) throw new Changed()
  if (!(await lockPackBlobs(tx, ...added.map(({ staged }) => staged)))) throw new Deleted()
  const changedVer = locked.packsVer + 1
  const gone = await retirePacks(tx, repoId, retired, changedVer)
  if (gone.packs !== retired.length) throw new Stale()
  const updateId = randomUUID()
  let addedBytes = 0
  for (const { staged, visibility, part } of added) {
    if (!staged.pack) continue
    const state = visibility === 3 ? 'garbage' : 'live'
    const inserted = await recordPack(tx, staged.pack, { repoId, updateId, visibility, state, part, changedVer })
    if (inserted && state === 'live') addedBytes += staged.pack.bytes
  }
  await also?.(tx)
  await stepRepository(tx, repoId, { refsChanged: false, packsChanged: true, epochChanged, purged, addedBytes: addedBytes - gone.bytes })
}
