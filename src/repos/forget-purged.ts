import type { Queryable } from '../db/pool.js'
import { findUnlinkedBlobs } from '../db/stored-blobs.js'
import type { Answers } from '../packs/answers.js'
import type { PackCache } from '../packs/pack-cache.js'
import type { Packs } from '../packs/packs.js'
import type { RepoStreams } from './repo-streams.js'

export interface ForgetPurgedDependencies {
  readonly db: Queryable
  readonly streams: Pick<RepoStreams, 'cutBefore'>
  readonly packs: Pick<Packs, 'forgetBefore'>
  readonly answers: Pick<Answers, 'forget'>
  /** Undefined: packs lie in the store's own files. */
  readonly packCache: Pick<PackCache, 'forgetUnneeded'> | undefined
  readonly log: (fields: object, phrase: string) => void
}

/**
 * Has this hub let go of what it keeps of a repository from before a purge: streams that have begun are cut, answers in memory and on disk, tables
 * and cached packs are dropped. Streams are cut at once; it comes back when the rest is done. Never throws: what cannot be dropped now is not answered
 * with, and is compared with the database again later.
 */
export type ForgetPurged = (repoId: number, purgeEpoch: number) => Promise<void>

export function createForgetPurged(deps: ForgetPurgedDependencies): ForgetPurged {
  const { streams, packs, answers, log } = deps
  return async (repoId, purgeEpoch) => {
    const cut = streams.cutBefore(repoId, purgeEpoch)
    answers.forget(repoId)
    const forgotten = await Promise.allSettled([packs.forgetBefore(repoId, purgeEpoch), forgetUnneededPacks(deps)])
    const failed = forgotten.find((result) => result.status === 'rejected')
    log({ repoId, purgeEpoch, streamsCut: cut, ...(failed ? { err: failed.reason } : {}) }, 'let go of what was purged')
  }
}

/** Cached packs that no repository needs: whatever purge took them, and whoever told of it. */
export async function forgetUnneededPacks({ db, packCache }: Pick<ForgetPurgedDependencies, 'db' | 'packCache'>): Promise<void> {
  await packCache?.forgetUnneeded((keys) => findUnlinkedBlobs(db, keys))
}
