import { listFoldCandidates, removeRetiredPacks } from '../db/packs.js'
import type { Database } from '../db/pool.js'
import type { Task } from '../jobs/runner.js'
import type { Collection } from '../kept/collect.js'
import { createCollector } from '../kept/collect.js'
import { createLargeFilesCollector, type CollectOptions, type LargeFilesCollection } from '../large-files/collect-large-files.js'
import type { LargeFilesService } from '../large-files/create-large-files.js'
import type { Fold } from '../packs/collect/fold.js'
import { foldLimits } from '../packs/collect/plan-fold.js'
import type { FindPointers } from '../packs/find-pointers.js'
import type { Packs } from '../packs/packs.js'
import type { Slices } from '../../protocol/ports.js'
import { maxUpdateMs } from '../repos/apply-update.js'
import { createLivePointers } from '../repos/live-pointers.js'
import type { BlobStore } from '../storage/blob-store.js'
import type { Log } from './services.js'

export interface ChoresDependencies {
  readonly db: Database
  readonly store: BlobStore
  readonly packs: Packs
  readonly largeFiles: Pick<LargeFilesService, 'releaseExpired'>
  readonly findPointers: FindPointers
  readonly fold: Fold
  readonly slices: (signal: AbortSignal) => Slices
  /** How long what nothing points to any more can be had back. */
  readonly retentionMs: number
  readonly log: Log
}

/** What a collection came to: first the links and objects, then the bytes that nothing needs. */
export interface CollectionReport {
  readonly largeFiles: LargeFilesCollection
  readonly blobs: Collection
}

export type ChoreName = 'release-uploads' | 'finish-deleting' | 'fold-packs' | 'collect'

/** What a hub does by itself. */
export interface Chores {
  readonly tasks: Readonly<Record<ChoreName, Task>>
  /** How often, milliseconds. */
  readonly schedule: Readonly<Record<ChoreName, number>>
  collect(options: CollectOptions): Promise<CollectionReport>
}

const minute = 60_000
const hour = 60 * minute
/** Who opened a snapshot before a pack was folded reads it still. Far longer than a snapshot is known without a look at the database. */
const retiredMs = 24 * hour
const removeAtOnce = 1_000
/** A store that does not answer is given up after far less. */
const storeTimeoutMs = 10 * minute

export function createChores(deps: ChoresDependencies): Chores {
  const { db, store, largeFiles, retentionMs, log } = deps
  const blobs = createCollector({ db, store, unusedGraceMs: 2 * maxUpdateMs, doomedGraceMs: 24 * hour, storeTimeoutMs })
  const objects = createLargeFilesCollector({
    db,
    livePointers: createLivePointers(deps),
    unseenGraceMs: retentionMs,
    markedGraceMs: retentionMs / 2,
    objectGraceMs: 24 * hour,
  })
  const collect = async (options: CollectOptions): Promise<CollectionReport> => ({
    largeFiles: await objects.collect(options),
    blobs: await blobs.collect({ dryRun: options.dryRun ?? false }),
  })
  return {
    collect,
    tasks: {
      'release-uploads': async () => {
        const released = await largeFiles.releaseExpired()
        if (released.uploads + released.strays + released.failed.length > 0) log(released, 'expired uploads released')
      },
      'finish-deleting': async () => {
        const { deleted, failed } = await blobs.finishDeleting()
        if (deleted.length + failed.length > 0) log({ deleted: deleted.length, failed }, 'deletions finished')
      },
      'fold-packs': async (signal) => {
        const { folded, removed, failed } = await foldPacks(deps, signal)
        if (folded.length + removed + failed.length > 0) log({ folded, removed, failed }, 'packs folded')
      },
      collect: async (signal) => log(reportFigures(await collect({ signal })), 'unused bytes collected'),
    },
    schedule: { 'release-uploads': 10 * minute, 'finish-deleting': minute, 'fold-packs': 5 * minute, collect: 24 * hour },
  }
}

/** All repositories that have gathered many packs, one after another; and the rows of packs that nobody reads any more. */
async function foldPacks({ db, fold }: Pick<ChoresDependencies, 'db' | 'fold'>, signal: AbortSignal) {
  const folded: { readonly repoId: number; readonly packs: number; readonly objects: number; readonly bytes: number }[] = []
  const failed: { readonly repoId: number; readonly why: string }[] = []
  for (const repoId of await listFoldCandidates(db, foldLimits)) {
    if (signal.aborted) break
    try {
      for (const one of await fold(repoId, signal)) folded.push({ repoId, ...one })
    } catch (error) {
      if (!signal.aborted) failed.push({ repoId, why: wordsOf(error) })
    }
  }
  let removed = 0
  for (let last = removeAtOnce; last === removeAtOnce && !signal.aborted; removed += last)
    last = await db.transaction((tx) => removeRetiredPacks(tx, retiredMs, removeAtOnce))
  return { folded, removed, failed }
}

const bytesOf = (rows: readonly { readonly bytes: number }[]): number => rows.reduce((sum, { bytes }) => sum + bytes, 0)
const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A report as JSON: figures, and what failed in words. */
export function reportFigures({ largeFiles, blobs }: CollectionReport) {
  return {
    repositories: largeFiles.repositories,
    links: largeFiles.links,
    objects: largeFiles.objects,
    blobs: {
      doomed: blobs.doomed.length,
      doomedBytes: bytesOf(blobs.doomed),
      deleted: blobs.deleted.length,
      deletedBytes: bytesOf(blobs.deleted),
    },
    failed: [
      ...largeFiles.failed.map(({ repoId, error }) => ({ what: `repository ${repoId}`, why: wordsOf(error) })),
      ...blobs.failed.map(({ key, error }) => ({ what: key, why: wordsOf(error) })),
    ],
  }
}

export type CollectionFigures = ReturnType<typeof reportFigures>
