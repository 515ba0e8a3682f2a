import { randomUUID } from 'node:crypto'
import { retirePacks } from '../../db/packs.js'
import type { Database, Transaction } from '../../db/pool.js'
import { lockRepository, stepRepository } from '../../db/repositories.js'
import type { Versions } from '../../db/versions.js'
import type { StagedRepoPack } from '../checked-pack.js'
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
  readonly added: readonly { readonly staged: StagedRepoPack; readonly visibility: 0 | 1 }[]
}

const maxKeeps = 5
/** Pushes hold the repository's lock for milliseconds. */
const rowLockWaitMs = 10_000

class Stale extends Error {}
class Deleted extends Error {}

/**
 * Puts packs in the place of others that hold the same objects, in one transaction. False: one of the old ones is no longer live, or something
 * left the classes that may be relied on since the new ones were checked; nothing was changed then.
 * See docs/git-storage.md, "Folding".
 * @throws CommitOutcomeUnknown: either all of it was done or nothing, and both are well
 */
export function replacePacks({ db, versions }: ReplaceDependencies, replacement: Replacement): Promise<boolean> {
  return versions.changing({ repoId: replacement.repoId }, async () => {
    for (let keeps = 0; keeps < maxKeeps; keeps++) {
      try {
        await db.transaction((tx) => replace(tx, replacement), { lockTimeoutMs: rowLockWaitMs })
        return true
      } catch (error) {
        if (error instanceof Stale) return false
        if (!(error instanceof Deleted)) throw error
        for (const { staged } of replacement.added) await staged.publish()
      }
    }
    return false
  })
}

async function replace(tx: Transaction, { repoId, retired, added }: Replacement): Promise<void> {
  const locked = await lockRepository(tx, repoId, null)
  if (!locked || locked.deleted || added.some(({ staged }) => staged.basis.gcEpoch !== locked.gcEpoch)) throw new Stale()
  if (!(await lockPackBlobs(tx, ...added.map(({ staged }) => staged)))) throw new Deleted()
  const changedVer = locked.packsVer + 1
  const gone = await retirePacks(tx, repoId, retired, changedVer)
  if (gone.packs !== retired.length) throw new Stale()
  const updateId = randomUUID()
  let addedBytes = 0
  for (const { staged, visibility } of added) {
    if (!staged.pack) continue
    if (await recordPack(tx, staged.pack, { repoId, updateId, visibility, changedVer })) addedBytes += staged.pack.bytes
  }
  await stepRepository(tx, repoId, { refsChanged: false, packsChanged: true, addedBytes: addedBytes - gone.bytes })
}
