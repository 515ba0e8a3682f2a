import type { MessagePort } from 'node:worker_threads'
import type { LfsOid } from '../../../lfs/types.js'
import type { IndexLimits, IndexPart } from '../../../protocol/pack/indexer.js'
import type { ColumnsState } from '../../../protocol/pack/pack-columns.js'
import type { StoredCrcs } from '../../../protocol/pack/pack-record.js'
import type { DeepenRequest, GivenPacks, PackRequest, Progress, StagedBinary, StagedPointer } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import type { LoadedBitmaps } from '../bitmaps/open-bitmaps.js'
import type { Classified, ClassifyRequest } from '../collect/classify.js'
import type { SidecarRequest } from '../collect/copy-pack.js'
import type { SideFiles, SideFilesRequest } from '../collect/side-files.js'
import type { Selection } from '../collect/selection.js'
import type { ResolvedPart } from '../ingest.js'
import type { Sidecars } from '../pack-sidecars.js'
import type { SnapshotMessage } from '../snapshot.js'
import type { SpoolState } from '../spool.js'

/** What a worker can be asked to do. Everything in it can be cloned: paths and shared memory, never descriptors. */
export type Job =
  | { readonly kind: 'index'; readonly spool: SpoolState; readonly limits: IndexLimits; readonly copied: boolean }
  | { readonly kind: 'resolve'; readonly spool: SpoolState; readonly part: IndexPart }
  | {
      readonly kind: 'enumerate'
      readonly snapshot: SnapshotMessage
      readonly request: PackRequest
      readonly bitmaps: LoadedBitmaps | undefined
    }
  | { readonly kind: 'reach'; readonly snapshot: SnapshotMessage; readonly wants: readonly Oid[]; readonly haves: readonly Oid[] }
  | { readonly kind: 'beyond'; readonly snapshot: SnapshotMessage; readonly request: PackRequest; readonly given: GivenPacks }
  | { readonly kind: 'deepen'; readonly snapshot: SnapshotMessage; readonly request: DeepenRequest }
  | { readonly kind: 'pointers'; readonly snapshot: SnapshotMessage; readonly wants: readonly Oid[] }
  | { readonly kind: 'repack'; readonly snapshot: SnapshotMessage; readonly selection: Selection | undefined; readonly crcs: StoredCrcs | undefined }
  | { readonly kind: 'sidecars'; readonly request: SidecarRequest }
  | { readonly kind: 'classify'; readonly snapshot: SnapshotMessage; readonly request: ClassifyRequest }
  | { readonly kind: 'side-files'; readonly snapshot: SnapshotMessage; readonly request: SideFilesRequest }
  | { readonly kind: 'cover'; readonly snapshot: SnapshotMessage; readonly tips: readonly Oid[]; readonly marks: readonly (Uint8Array | undefined)[] }

/** Sent to a worker: one port a job, for progress, chunks and the end. */
export interface JobStart {
  readonly job: Job
  readonly port: MessagePort
  /** One word in shared memory; anything but 0: stop. */
  readonly cancel: Int32Array
}

/** From a worker, about one job. The last is `done` or `failed`. */
export type FromWorker =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'chunk'; readonly buffer: ArrayBuffer; readonly bytes: number }
  | { readonly kind: 'assist'; readonly job: Extract<Job, { kind: 'resolve' }> }
  | { readonly kind: 'need'; readonly pack: number }
  | { readonly kind: 'done'; readonly result: JobResult }
  | { readonly kind: 'failed'; readonly error: ErrorMessage }

/**
 * To a worker, about one job: a chunk was read and its buffer comes back; a pack has grown, or is all there with what it is checked against;
 * what another thread did for it; a pack of the snapshot is here to be read, or cannot be; or look whether to stop.
 */
export type ToWorker =
  | { readonly kind: 'credit'; readonly buffer: ArrayBuffer }
  | { readonly kind: 'grew'; readonly length: number }
  | { readonly kind: 'arrived'; readonly spool: SpoolState; readonly snapshot: SnapshotMessage; readonly roomBytes: number }
  | { readonly kind: 'assisted'; readonly part: ResolvedPart }
  | { readonly kind: 'unassisted'; readonly error: ErrorMessage }
  | { readonly kind: 'here'; readonly pack: number }
  | { readonly kind: 'not-here'; readonly pack: number; readonly error: ErrorMessage }
  | { readonly kind: 'wake' }

export type JobResult =
  | { readonly kind: 'index'; readonly pack: IndexedPack | undefined; readonly spool: SpoolState }
  | { readonly kind: 'resolve'; readonly part: ResolvedPart }
  | { readonly kind: 'enumerate' }
  | { readonly kind: 'reach'; readonly reached: boolean }
  | { readonly kind: 'beyond'; readonly pack: Uint8Array | undefined }
  | { readonly kind: 'deepen'; readonly shallow: readonly Oid[]; readonly unshallow: readonly Oid[] }
  | { readonly kind: 'pointers'; readonly oids: readonly LfsOid[] }
  | { readonly kind: 'repack'; readonly columns: ColumnsState | undefined }
  | { readonly kind: 'sidecars'; readonly sidecars: Sidecars }
  | { readonly kind: 'classify'; readonly classified: Classified }
  | { readonly kind: 'side-files'; readonly files: SideFiles }
  | { readonly kind: 'cover'; readonly covered: boolean }

/** A checked pack as it crosses threads. */
export interface IndexedPack {
  readonly objects: number
  readonly addedBases: number
  readonly sha1: Uint8Array
  readonly sha256: Uint8Array
  readonly sidecars: Sidecars
  readonly roots: Uint8Array | null
  readonly externals: Uint8Array
  readonly expected: Uint8Array
  readonly pointers: readonly StagedPointer[]
  readonly binaries: readonly StagedBinary[]
}

/** Chunks under way to a reader that has not taken them. */
export const unreadChunks = 4
export const chunkBytes = 256 * 1024

export type ErrorMessage =
  | { readonly kind: 'protocol' | 'hub'; readonly code: string; readonly message: string }
  | { readonly kind: 'other'; readonly message: string; readonly stack: string | undefined }
