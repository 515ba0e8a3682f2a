import type { Task } from '../jobs/runner.js'
import { createCollector, type Collection, type Collector } from '../kept/collect.js'
import { createLargeFilesCollector, type CollectOptions, type LargeFilesCollection } from '../large-files/collect-large-files.js'
import type { LargeFilesService } from '../large-files/create-large-files.js'
import type { FindPointers } from '../packs/find-pointers.js'
import type { Database } from '../db/pool.js'
import type { Packs } from '../packs/packs.js'
import type { SharedAnswers } from '../packs/shared-answers.js'
import type { Slices } from '../../protocol/ports.js'
import { maxUpdateMs } from '../repos/apply-update.js'
import { createLivePointers } from '../repos/live-pointers.js'
import type { BlobStore } from '../storage/blob-store.js'
import type { Log } from './ground.js'
import { collectAllPacks, foldPacks, type PackChoresDependencies, type PacksReport, type RepoFailure } from './pack-chores.js'

export interface ChoresDependencies extends PackChoresDependencies {
  readonly blobs: Collector
  readonly packs: Packs
  readonly largeFiles: Pick<LargeFilesService, 'releaseExpired'>
  readonly findPointers: FindPointers
  readonly sharedAnswers: Pick<SharedAnswers, 'trim'>
  readonly slices: (signal: AbortSignal) => Slices
  readonly log: Log
}

/** What to collect, all of it when nothing is said. */
export interface ChoreOptions extends CollectOptions {
  readonly what?: readonly ('packs' | 'large-files')[]
}

/** What a collection came to: packs, then links and objects, then the bytes that nothing needs. */
export interface CollectionReport {
  /** Undefined: not asked for. */
  readonly packs: PacksReport | undefined
  readonly largeFiles: LargeFilesCollection | undefined
  readonly blobs: Collection
}

export type ChoreName = 'release-uploads' | 'finish-deleting' | 'fold-packs' | 'trim-answers' | 'collect'

/** What a hub does by itself. */
export interface Chores {
  readonly tasks: Readonly<Record<ChoreName, Task>>
  /** How often, milliseconds. */
  readonly schedule: Readonly<Record<ChoreName, number>>
  collect(options: ChoreOptions): Promise<CollectionReport>
}

const minute = 60_000
const hour = 60 * minute
/** A store that does not answer is given up after far less. */
const storeTimeoutMs = 10 * minute

/** What deletes stored bytes, with the grace that pushes need. */
export const createBlobCollector = (stores: { readonly db: Database; readonly store: BlobStore }): Collector =>
  createCollector({ ...stores, unusedGraceMs: 2 * maxUpdateMs, doomedGraceMs: 24 * hour, storeTimeoutMs })

export function createChores(deps: ChoresDependencies): Chores {
  const { db, blobs, largeFiles, sharedAnswers, retentionMs, log } = deps
  const objects = createLargeFilesCollector({
    db,
    livePointers: createLivePointers(deps),
    unseenGraceMs: retentionMs,
    markedGraceMs: retentionMs / 2,
    objectGraceMs: 24 * hour,
  })
  const collect = async ({ what = ['packs', 'large-files'], ...options }: ChoreOptions): Promise<CollectionReport> => ({
    packs: what.includes('packs') ? await collectAllPacks(deps, options) : undefined,
    largeFiles: what.includes('large-files') ? await objects.collect(options) : undefined,
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
        if (folded.length + removed + failed.length > 0) log({ folded, removed, failed: failed.map(failureOf) }, 'packs folded')
      },
      'trim-answers': async () => {
        const removed = await sharedAnswers.trim()
        if (removed > 0) log({ removed }, 'answers removed from the store')
      },
      collect: async (signal) => log(reportFigures(await collect({ signal })), 'unused bytes collected'),
    },
    schedule: {
      'release-uploads': 10 * minute,
      'finish-deleting': minute,
      'fold-packs': 5 * minute,
      'trim-answers': 10 * minute,
      collect: 24 * hour,
    },
  }
}

const bytesOf = (rows: readonly { readonly bytes: number }[]): number => rows.reduce((sum, { bytes }) => sum + bytes, 0)
const apart = ({ failed, ...figures }: PacksReport) => ({ failed, figures })
const failureOf = ({ repoId, error }: RepoFailure) => ({ what: `repository ${repoId}`, why: wordsOf(error) })
const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A report as JSON: figures, and what failed in words. */
export function reportFigures({ packs, largeFiles, blobs }: CollectionReport) {
  const ofPacks = packs && apart(packs)
  return {
    ...(ofPacks ? { packs: ofPacks.figures } : {}),
    ...(largeFiles ? { repositories: largeFiles.repositories, links: largeFiles.links, objects: largeFiles.objects } : {}),
    blobs: {
      doomed: blobs.doomed.length,
      doomedBytes: bytesOf(blobs.doomed),
      deleted: blobs.deleted.length,
      deletedBytes: bytesOf(blobs.deleted),
    },
    failed: [
      ...[...(ofPacks?.failed ?? []), ...(largeFiles?.failed ?? [])].map(failureOf),
      ...blobs.failed.map(({ key, error }) => ({ what: key, why: wordsOf(error) })),
    ],
  }
}

export type CollectionFigures = ReturnType<typeof reportFigures>
