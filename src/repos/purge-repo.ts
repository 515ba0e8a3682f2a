import type { LfsOid } from '../../lfs/types.js'
import type { Oid } from '../../protocol/types.js'
import { appendAudit } from '../db/audit.js'
import type { Database } from '../db/pool.js'
import { lockLiveRepository } from '../db/large-objects.js'
import { readPurgeEpochs } from '../db/purges.js'
import { stepRepository } from '../db/repositories.js'
import { unlinkNow } from '../db/unused-large-objects.js'
import type { RepoState, Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import type { Purged, PurgePacks } from '../packs/collect/purge.js'
import type { ForgetPurged } from './forget-purged.js'

export interface PurgeRepoDependencies {
  readonly db: Database
  readonly versions: Pick<Versions, 'changing'>
  readonly forgetPurged: ForgetPurged
  readonly purgePacks: PurgePacks
  /** Large objects that a ref, as it is now, leads to. */
  readonly pointersInUse: (repoId: number, signal: AbortSignal) => Promise<ReadonlySet<LfsOid>>
}

export interface PurgeRequest {
  /** Objects that must be gone afterwards. */
  readonly oids: readonly Oid[]
  /** Large objects that this repository must not have afterwards. */
  readonly largeFiles: readonly LfsOid[]
  readonly actorId: number
  readonly signal: AbortSignal
}

export interface PurgedRepo extends Purged {
  /** Large objects that can no longer be had here. Their bytes go when no other repository has them. */
  readonly largeFiles: number
}

/** @throws HubError `conflict` when a ref still leads to what must go: nothing is changed then; `busy` */
export type PurgeRepo = (repo: RepoState, request: PurgeRequest) => Promise<PurgedRepo>

export function createPurgeRepo({ db, versions, forgetPurged, purgePacks, pointersInUse }: PurgeRepoDependencies): PurgeRepo {
  return async (repo, { oids, largeFiles, actorId, signal }) => {
    if (largeFiles.length > 0) {
      const used = await pointersInUse(repo.id, signal)
      const still = largeFiles.find((oid) => used.has(oid))
      if (still !== undefined) throw new HubError('conflict', `a branch, tag or other ref still leads to a pointer to ${still}`)
    }
    const purged = await purgePacks(repo.id, { mustGo: oids, signal })
    const unlink = async (): Promise<number> =>
      db.transaction(async (tx) => {
        // Those who read one of them now have to hear of it.
        if (largeFiles.length > 0) await stepRepository(tx, repo.id, { refsChanged: false, packsChanged: false, addedBytes: 0, purged: true })
        await lockLiveRepository(tx, repo.id)
        const gone = await unlinkNow(tx, repo.id, largeFiles)
        await appendAudit(tx, { actorId, action: 'repo.purge', repoId: repo.id, details: { oids, largeFiles, objects: purged.objects } })
        return gone
      })
    const unlinked = await versions.changing({ repoId: repo.id }, unlink)
    const purgeEpoch = largeFiles.length > 0 ? (await readPurgeEpochs(db, [repo.id])).get(repo.id) : undefined
    if (purgeEpoch !== undefined) await forgetPurged(repo.id, purgeEpoch)
    return { ...purged, largeFiles: unlinked }
  }
}
