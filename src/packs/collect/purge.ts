import type { Oid } from '../../../protocol/types.js'
import { HubError } from '../../errors.js'
import type { Collector } from '../../kept/collect.js'
import type { Packs } from '../packs.js'
import type { CollectPacks } from './collect.js'

export interface PurgeDependencies {
  readonly packs: Pick<Packs, 'openSnapshot'>
  readonly collectPacks: CollectPacks
  /** Has this hub let go of what is from before the epoch. */
  readonly forgetPurged: (repoId: number, purgeEpoch: number) => Promise<void>
  readonly blobs: Pick<Collector, 'purge'>
}

export interface Purged {
  /** Objects no ref led to, found in packs that were in use. */
  readonly objects: number
  /** Garbage packs there were. */
  readonly garbagePacks: number
  /** Blobs whose bytes are gone from the store. */
  readonly blobs: number
  /** Keys of those that nothing here needs any more, and that could not be deleted now: they go as all unused bytes do. */
  readonly left: readonly string[]
}

/**
 * Has everything go for good, and now, that no ref of a repository leads to: garbage, what is out of use, and what was kept of it in memory and
 * on disk. Streams that began before are cut. `mustGo`: objects that a ref must not lead to any more.
 * @throws HubError `conflict` when one does; `busy` when there were pushes all the time; what `CollectPacks` throws
 */
export type PurgePacks = (repoId: number, options: { readonly mustGo: readonly Oid[]; readonly signal: AbortSignal }) => Promise<Purged>

const maxTries = 5

export function createPurgePacks({ packs, collectPacks, forgetPurged, blobs }: PurgeDependencies): PurgePacks {
  return async (repoId, { mustGo, signal }) => {
    for (let tries = 0; tries < maxTries; tries++) {
      const { outcome, garbage, expired, freed } = await collectPacks(repoId, { purge: true, mustGo, signal })
      if (outcome === 'moved-on') continue
      // Whoever reads here by what was known before hears of it now; other hubs were told by the transaction.
      const view = await packs.openSnapshot(repoId)
      view.release()
      await forgetPurged(repoId, view.versions.purgeEpoch)
      const left: string[] = []
      for (const key of freed) if (!(await blobs.purge(key).catch(() => false))) left.push(key)
      return { objects: garbage, garbagePacks: expired, blobs: freed.length - left.length, left }
    }
    throw new HubError('busy', 'there were pushes all the time, try again')
  }
}
