import type { Database } from '../db/pool.js'
import { createFindPurgeEpoch } from '../db/purges.js'
import type { Answers } from '../packs/answers.js'
import type { PackCache } from '../packs/pack-cache.js'
import type { Packs } from '../packs/packs.js'
import { createForgetPurged, forgetUnneededPacks, type ForgetPurged } from '../repos/forget-purged.js'
import { hearPurges } from '../repos/hear-purges.js'
import { RepoStreams } from '../repos/repo-streams.js'
import type { Log } from './ground.js'

export interface PurgesOptions {
  readonly db: Database
  /** No other hub works on this database. */
  readonly isAlone: boolean
  readonly packs: Pick<Packs, 'forgetBefore' | 'known'>
  readonly answers: Pick<Answers, 'forget' | 'known'>
  readonly packCache: PackCache | undefined
  readonly log: Log
}

/** What this hub does about purges: its own, and those of others. */
export interface Purges {
  readonly repoStreams: RepoStreams
  readonly forgetPurged: ForgetPurged
  /** Whether it hears of purges at once. */
  readonly isListening: () => boolean
  close(): Promise<void>
}

export function openPurges({ db, isAlone, packs, answers, packCache, log }: PurgesOptions): Purges {
  const repoStreams = new RepoStreams({
    findPurgeEpoch: isAlone ? undefined : createFindPurgeEpoch(db),
    onPurged: (repoId, purgeEpoch) => void forgetPurged(repoId, purgeEpoch),
  })
  const forgetPurged: ForgetPurged = createForgetPurged({ db, streams: repoStreams, packs, answers, packCache, log })
  if (isAlone) return { repoStreams, forgetPurged, isListening: () => true, close: async () => undefined }
  const listener = hearPurges({
    db,
    forgetPurged,
    forgetUnneededPacks: () => forgetUnneededPacks({ db, packCache }),
    known: [() => repoStreams.known(), () => packs.known(), () => answers.known()],
    log,
  })
  return { repoStreams, forgetPurged, isListening: () => listener.isListening, close: () => listener.close() }
}
