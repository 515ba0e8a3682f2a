import { startListener, type Listener, type ListenerOptions } from '../db/listener.js'
import type { Database } from '../db/pool.js'
import { parsePurgeHint, purgeChannel, readPurgeEpochs } from '../db/purges.js'
import type { ForgetPurged } from './forget-purged.js'

/** What a part of the hub holds of repositories: their ids, each with the epoch it belongs to. */
export type KnownEpochs = () => Iterable<readonly [repoId: number, purgeEpoch: number]>

export interface HearPurgesOptions extends Pick<ListenerOptions, 'checkEveryMs' | 'answerMs' | 'retryMs'> {
  readonly db: Database
  readonly forgetPurged: ForgetPurged
  readonly forgetUnneededPacks: () => Promise<void>
  readonly known: readonly KnownEpochs[]
  readonly log: (fields: object, phrase: string) => void
}

/**
 * Listens to what other hubs purge, and has this one forget it. What was told while nobody listened is found out by comparing, each time it begins to
 * listen: epochs of all that is known here in one statement, and cached packs with what is needed.
 */
export function hearPurges({ db, forgetPurged, forgetUnneededPacks, known, log, ...timings }: HearPurgesOptions): Listener {
  const compare = async (): Promise<void> => {
    const oldest = new Map<number, number>()
    for (const list of known)
      for (const [repoId, purgeEpoch] of list()) oldest.set(repoId, Math.min(purgeEpoch, oldest.get(repoId) ?? Number.POSITIVE_INFINITY))
    const now = await readPurgeEpochs(db, [...oldest.keys()])
    for (const [repoId, purgeEpoch] of now) if (purgeEpoch > oldest.get(repoId)!) await forgetPurged(repoId, purgeEpoch)
    await forgetUnneededPacks()
  }
  return startListener({
    ...timings,
    db,
    channel: purgeChannel,
    onNotification: (payload) => {
      const hint = parsePurgeHint(payload)
      if (hint) void forgetPurged(hint.repoId, hint.purgeEpoch)
    },
    onListening: compare,
    onLost: (error) => log({ err: error }, 'does not hear of purges until the database is reached again'),
  })
}
