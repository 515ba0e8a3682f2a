import { join } from 'node:path'
import { ProtocolError } from '../../protocol/errors.js'
import type { IndexLimits } from '../../protocol/pack/indexer.js'
import { ObjectTable } from '../../protocol/pack/object-table.js'
import type { PackRow } from '../db/packs.js'
import type { Database } from '../db/pool.js'
import type { Keeper } from '../kept/keep.js'
import type { BlobStore, FilePut } from '../storage/blob-store.js'
import { ByteBudget } from './byte-budget.js'
import { checkHere, type BeginCheck } from './check-pack.js'
import type { LocalPacks, PackName } from './local-packs.js'
import { PackFiles } from './pack-file.js'
import type { OpenedPack } from './pack-list.js'
import { createPublishPack } from './publish.js'
import { readSideFile } from './read-side-file.js'
import { RecentTables } from './recent-tables.js'
import type { Sidecars } from './pack-sidecars.js'
import { reindexPack, type ReindexOptions } from './reindex.js'
import type { Snapshot, SnapshotVersions } from './snapshot.js'
import { Snapshots, type SnapshotsOptions } from './snapshots.js'
import type { Spool } from './spool.js'
import type { StagedRepoPack, StoragePack } from './checked-pack.js'
import type { CopiedPack } from './collect/copy-pack.js'
import { stageCopied, type StageCopiedRequest } from './stage-copied.js'
import { stagePack, type StageRequest } from './stage.js'
import { Turns } from './turns.js'
import { openUncached, type UncachedOptions, type UncachedSnapshot } from './uncached-snapshot.js'
import { workLimits, type WorkLimits } from './work-limits.js'

export interface PacksUsage {
  /** Memory of the checks under way, of `ingestBytes`. */
  readonly ingestBytes: number
  /** Memory of tables, inline packs and bitmaps, of `tableBytes`; those in use count even beyond it. */
  readonly tableBytes: number
  /** Packs that have arrived and wait for their turn to be checked. */
  readonly checksWaiting: number
}

/** Git's bytes, by repository id: frozen views to read, and packs on their way in. */
export interface Packs {
  /** @throws HubError `repo-not-found`, `unavailable` */
  openSnapshot(repoId: number, versions?: SnapshotVersions): Promise<Snapshot>
  /** `chunks` undefined: the push brings no pack. As `stagePack`. */
  stage(chunks: AsyncIterable<Uint8Array> | undefined, request: StageRequest): Promise<StagedRepoPack>
  /** As `stageCopied`. */
  stageCopied(copied: CopiedPack, request: StageCopiedRequest): Promise<StoragePack>
  /** The repository as database and store have it, packs out of use among it, for who checks or repairs it. As `openUncached`. */
  openUncached(repoId: number, options: UncachedOptions): Promise<UncachedSnapshot>
  /** As `reindexPack`. */
  reindex(pack: PackName, chunks: AsyncIterable<Uint8Array>, options: ReindexOptions): Promise<Sidecars>
  /** As `Snapshots.forgetBefore`. */
  forgetBefore(repoId: number, purgeEpoch: number): Promise<void>
  /** As `Snapshots.known`. */
  known(): Iterable<readonly [repoId: number, purgeEpoch: number]>
  usage(): PacksUsage
  /** Lets go of what is kept open. */
  close(): void
}

export interface PacksOptions {
  readonly db: Database
  readonly store: BlobStore
  readonly files: FilePut
  readonly localPacks: LocalPacks
  readonly keeper: Keeper
  readonly spool: Spool
  /** Delta bases and windows of all ingests together, bytes. */
  readonly ingestBytes: number
  /** Tables and inline packs of all repositories, bytes. */
  readonly tableBytes: number
  readonly limits?: Partial<IndexLimits>
  readonly workLimits?: Partial<WorkLimits>
  /** They count among tables. */
  readonly bitmaps?: { readonly bytes: number }
  /** By default on this thread. */
  readonly beginCheck?: BeginCheck
}

/** What one push may bring. */
const defaultLimits: Omit<IndexLimits, 'cacheBytes'> = {
  maxObjects: 5_000_000,
  maxObjectBytes: 100 * 1024 * 1024,
  maxStructureBytes: 50 * 1024 * 1024,
  maxInflatedBytes: 200 * 1024 * 1024 * 1024,
  maxDeltaDepth: 4095,
  largeBlobBytes: 10 * 1024 * 1024,
}
/** Of one repository; beyond it inline packs go to a file. */
const inlineMemoryBytes = 8 * 1024 * 1024

export function createPacks(options: PacksOptions): Packs {
  const { db, store, localPacks, spool, ingestBytes, tableBytes } = options
  const files = new PackFiles()
  const recent = new RecentTables(tableBytes / 8)
  const reading: SnapshotsOptions = {
    db,
    tableBytes,
    otherBytes: () => options.bitmaps?.bytes ?? 0,
    openPack: (row) => openStoredPack(row, store, localPacks, files, recent),
    leasing: localPacks.leasing,
    inline: { files, directory: join(spool.directory, 'inline'), memoryBytes: inlineMemoryBytes },
  }
  const snapshots = new Snapshots(reading)
  const { checksAtOnce, maxCheckMs } = { ...workLimits, ...options.workLimits }
  const staging = {
    turns: new Turns(checksAtOnce),
    maxCheckMs,
    spool,
    publish: createPublishPack({ ...options, recent }),
    beginCheck: options.beginCheck ?? checkHere,
    budget: new ByteBudget(ingestBytes),
    // One push alone leaves room for another.
    limits: { ...defaultLimits, cacheBytes: Math.floor(ingestBytes / 2), ...options.limits },
  }
  return {
    openSnapshot: (repoId, versions) => snapshots.open(repoId, versions),
    stage: (chunks, request) => stagePack(staging, chunks, request),
    stageCopied: (copied, request) => stageCopied(staging, copied, request),
    openUncached: (repoId, uncached) =>
      openUncached({ ...reading, openPack: (row) => openStoredPack(row, store, localPacks, files) }, repoId, uncached),
    reindex: (pack, chunks, reindex) => reindexPack(staging, pack, chunks, reindex),
    async forgetBefore(repoId, purgeEpoch) {
      // Whose they are nobody knows any more.
      recent.forget()
      await snapshots.forgetBefore(repoId, purgeEpoch)
    },
    known: () => snapshots.known(),
    usage: () => ({
      ingestBytes: staging.budget.usedBytes,
      tableBytes: snapshots.bytes + (options.bitmaps?.bytes ?? 0),
      checksWaiting: staging.turns.waiting,
    }),
    close: () => snapshots.close(),
  }
}

/** A pack of the BlobStore with its table in shared memory, checked against its name. */
async function openStoredPack(row: PackRow, store: BlobStore, localPacks: LocalPacks, files: PackFiles, recent?: RecentTables): Promise<OpenedPack> {
  const name = `pack ${row.sha256.toString('hex')}`
  const made = recent?.find(row.tblSha256!)
  const table = made
    ? ObjectTable.openChecked(made)
    : ObjectTable.open(await readSideFile(store, { kind: 'tbl', sha256: row.tblSha256!, what: `${name}: its table` }))
  if (table.count !== row.objects || table.packBytes !== row.bytes || !row.sha256.equals(table.packSha256)) {
    throw new ProtocolError('corrupt', `${name}: its table is of another pack`)
  }
  const path = localPacks.pathOf(row.sha256)
  return { table, path, bytes: files.open({ name, bytes: row.bytes, from: path }) }
}
