import { listCollectCandidates, listFoldCandidates, removeRetiredPacks } from '../db/packs.js'
import type { Database } from '../db/pool.js'
import type { CollectPacks } from '../packs/collect/collect.js'
import type { Fold } from '../packs/collect/fold.js'
import { foldLimits } from '../packs/collect/plan-fold.js'

export interface PackChoresDependencies {
  readonly db: Database
  readonly fold: Fold
  readonly collectPacks: CollectPacks
  /** How long what no ref leads to can be had back. */
  readonly retentionMs: number
}

export interface RepoFailure {
  readonly repoId: number
  readonly error: unknown
}

export interface FoldReport {
  readonly folded: readonly { readonly repoId: number; readonly packs: number; readonly objects: number; readonly bytes: number }[]
  /** Rows of packs that nobody reads any more. */
  readonly removed: number
  readonly failed: readonly RepoFailure[]
}

/** What collections of repositories came to, all together. */
export interface PacksReport {
  readonly repositories: number
  /** Repositories whose packs were written anew. */
  readonly collected: number
  /** Pushed to so much meanwhile that they are tried again another time. */
  readonly movedOn: number
  readonly packs: number
  readonly bytes: number
  readonly objects: number
  readonly garbage: number
  readonly expired: number
  readonly failed: readonly RepoFailure[]
}

const hour = 60 * 60_000
/** Who opened a snapshot before a pack was folded reads it still. Far longer than a snapshot is known without a look at the database. */
const retiredMs = 24 * hour
const removeAtOnce = 1_000
/** A repository that refs move in is collected once in that time, however little was added. */
const restMs = 7 * 24 * hour

/** All repositories that have gathered many packs, one after another; and the rows of packs that nobody reads any more. */
export async function foldPacks({ db, fold }: PackChoresDependencies, signal: AbortSignal): Promise<FoldReport> {
  const folded: FoldReport['folded'][number][] = []
  const failed = await eachRepository(await listFoldCandidates(db, foldLimits), signal, async (repoId) => {
    for (const one of await fold(repoId, signal)) folded.push({ repoId, ...one })
  })
  let removed = 0
  for (let last = removeAtOnce; last === removeAtOnce && !signal.aborted; removed += last)
    last = await db.transaction((tx) => removeRetiredPacks(tx, retiredMs, removeAtOnce))
  return { folded, removed, failed }
}

/** All repositories that are worth it, one after another. */
export async function collectAllPacks(
  { db, collectPacks, retentionMs }: PackChoresDependencies,
  { dryRun = false, signal = new AbortController().signal }: { readonly dryRun?: boolean | undefined; readonly signal?: AbortSignal | undefined },
): Promise<PacksReport> {
  const repoIds = await listCollectCandidates(db, { restMs, garbageMs: retentionMs })
  const sums = { collected: 0, movedOn: 0, packs: 0, bytes: 0, objects: 0, garbage: 0, expired: 0 }
  const failed = await eachRepository(repoIds, signal, async (repoId) => {
    const { outcome, packs, bytes, objects, garbage, expired } = await collectPacks(repoId, { dryRun, signal })
    if (outcome === 'collected') sums.collected += 1
    if (outcome === 'moved-on') sums.movedOn += 1
    for (const [name, figure] of Object.entries({ packs, bytes, objects, garbage, expired })) sums[name as 'packs'] += figure
  })
  return { repositories: repoIds.length, ...sums, failed }
}

/** What fails in one is left, and does not stop the others. */
async function eachRepository(repoIds: readonly number[], signal: AbortSignal, work: (repoId: number) => Promise<void>): Promise<RepoFailure[]> {
  const failed: RepoFailure[] = []
  for (const repoId of repoIds) {
    if (signal.aborted) break
    try {
      await work(repoId)
    } catch (error) {
      if (!signal.aborted) failed.push({ repoId, error })
    }
  }
  return failed
}
