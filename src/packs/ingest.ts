import { parsePointer } from '../../lfs/pointer.js'
import { ProtocolError } from '../../protocol/errors.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { trailerBytes } from '../../protocol/pack/entry.js'
import {
  PackIndexer,
  type Connections,
  type IndexLimits,
  type IndexPart,
  type IndexPartResult,
  type IndexerHooks,
} from '../../protocol/pack/indexer.js'
import { ObjectTable } from '../../protocol/pack/object-table.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import type { PackView, Progress, StagedBinary, StagedPointer, WorkOptions } from '../../protocol/ports.js'
import { makeSidecars, type Sidecars } from './pack-sidecars.js'
import type { SpooledPack } from './spool.js'

/** What a received pack is, once every byte of it has been looked at. */
export interface IngestedPack {
  readonly objects: number
  readonly sha1: Buffer
  readonly sha256: Buffer
  readonly sidecars: Sidecars
  /** That of the sidecars, open. */
  readonly table: ObjectTable
  /** Objects at the end of the pack, in pack order, that completed a thin one: copies of what the repository has. */
  readonly addedBases: number
  readonly connections: Connections
  /** Small blobs that parse as git-lfs pointers. */
  readonly pointers: readonly StagedPointer[]
  /** Large blobs that are no text; the first thousand. */
  readonly binaries: readonly StagedBinary[]
}

/** Blobs of a pack that its policy is about. */
export interface NotableBlobs {
  readonly pointers: readonly StagedPointer[]
  readonly binaries: readonly StagedBinary[]
}

/** A part of the second pass, done by another thread. */
export interface ResolvedPart {
  readonly result: IndexPartResult
  readonly notable: NotableBlobs
}

/** Has another thread help with a pack whose scan has begun. */
export type Assist = (part: IndexPart) => Promise<ResolvedPart>

export interface IngestHelp {
  readonly assist?: Assist
  /** Resolves when a pack that is still arriving has grown. */
  readonly grown?: () => Promise<void>
}

const neverGrows = (): Promise<void> => Promise.reject(new Error('a pack that is whole is waited for'))

/** Pointers of one push. */
const maxPointers = 1_000_000
/** Named in one refusal are far fewer. */
const maxBinaries = 1_000
/** Text has no zero byte here, and nearly everything else has. */
const sampleBytes = 8_000

/**
 * Indexes a spooled pack: every entry inflated, named and checked, deltas resolved, a thin pack completed out of the view (only by what may
 * be relied on), which is opened once all of the pack is there. The spool holds the completed pack afterwards.
 * @throws ProtocolError `bad-pack`, `bad-object`, `too-large`, `cancelled`
 */
export async function ingestPack(
  spool: SpooledPack,
  openView: () => Promise<PackView>,
  limits: IndexLimits,
  options: WorkOptions,
  { assist, grown = neverGrows }: IngestHelp = {},
): Promise<IngestedPack> {
  const notable = new NotableBlobCollector()
  let elsewhere: Promise<ResolvedPart> | undefined
  notable.share = (part) => {
    elsewhere = assist?.(part)
    elsewhere?.catch(() => {}) // heard of when the part is taken, unless this thread fails first
  }
  const indexer = new PackIndexer(limits, notable)
  await drive(indexer.scan(spool), options, grown)
  const view = await openView()
  await resolveWith(elsewhere, indexer, spool, notable, options)
  await completeThin(indexer, spool, view, limits, options)
  if (indexer.addedBases > 0) await spool.seal(indexer.objects, options.slices)
  const { sha1, sha256 } = spool.checksums()
  const index = indexer.finish(sha1, spool.length)
  const pause = async (): Promise<void> => options.slices.pause()
  await pause()
  const connections = indexer.connect(index)
  await pause()
  const sidecars = await makeSidecars(index, sha256, options.slices)
  return {
    objects: index.count,
    sha1,
    sha256,
    sidecars,
    table: ObjectTable.openChecked(sidecars.tbl),
    addedBases: indexer.addedBases,
    connections,
    pointers: notable.pointers,
    binaries: notable.binaries,
  }
}

/** This thread's half of the second pass, and the other's. */
async function resolveWith(
  elsewhere: Promise<ResolvedPart> | undefined,
  indexer: PackIndexer,
  spool: SpooledPack,
  notable: NotableBlobCollector,
  options: WorkOptions,
): Promise<void> {
  const isSplit = elsewhere !== undefined && indexer.split()
  if (elsewhere && !isSplit) takePart(await elsewhere, indexer, notable)
  await drive(indexer.resolve(spool), options)
  if (elsewhere && isSplit) takePart(await elsewhere, indexer, notable)
}

function takePart(part: ResolvedPart, indexer: PackIndexer, notable: NotableBlobCollector): void {
  indexer.takePart(part.result)
  notable.take(part.notable)
}

/** Helps with a pack that another thread's indexer shares. @throws ProtocolError `bad-pack`, `bad-object`, `too-large`, `cancelled` */
export async function resolvePart(part: IndexPart, spool: SpooledPack, options: WorkOptions): Promise<ResolvedPart> {
  const notable = new NotableBlobCollector()
  const indexer = PackIndexer.ofPart(part, notable)
  await drive(indexer.follow(), options, () => indexer.scannedMore())
  spool.grow(Math.max(spool.length, indexer.end + trailerBytes)) // opened while the pack was arriving
  await drive(indexer.resolve(spool), options)
  const { pointers, binaries } = notable
  return { result: indexer.result(), notable: { pointers, binaries } }
}

/** Gathers what the policy of a push will want to know. */
class NotableBlobCollector implements NotableBlobs, IndexerHooks {
  share?: (part: IndexPart) => void
  readonly pointers: StagedPointer[] = []
  readonly binaries: StagedBinary[] = []

  inspectBlob(data: Uint8Array, oid: Uint8Array): void {
    const pointer = parsePointer(data)
    if (pointer) this.#addPointer({ blob: oidFromBytes(oid), lfsOid: pointer.oid, size: pointer.size })
  }

  inspectLargeBlob(data: Uint8Array, oid: Uint8Array): void {
    if (this.binaries.length < maxBinaries && data.subarray(0, sampleBytes).includes(0)) {
      this.binaries.push({ blob: oidFromBytes(oid), size: data.length })
    }
  }

  take({ pointers, binaries }: NotableBlobs): void {
    for (const pointer of pointers) this.#addPointer(pointer)
    this.binaries.push(...binaries.slice(0, maxBinaries - this.binaries.length))
  }

  #addPointer(pointer: StagedPointer): void {
    if (this.pointers.length === maxPointers) throw new ProtocolError('too-large', `more than ${maxPointers} git-lfs pointers in one push`)
    this.pointers.push(pointer)
  }
}

async function drive(steps: Generator<Progress | 'more' | undefined, void>, { slices, onProgress }: WorkOptions, grown = neverGrows): Promise<void> {
  for (const progress of steps) {
    if (progress === 'more') await grown()
    else if (progress) onProgress?.(progress)
    const pause = slices.pause()
    if (pause) await pause
  }
}

async function completeThin(indexer: PackIndexer, spool: SpooledPack, view: PackView, limits: IndexLimits, options: WorkOptions): Promise<void> {
  const missing = indexer.missingBases()
  if (missing.length === 0) return
  const reader = createObjectReader(view, { maxBytes: limits.maxObjectBytes })
  for (const name of missing) {
    const entry = view.find(name, 'credit')
    if (entry === -1) continue // `finish` says so, unless it turns up as a delta of the pack
    const { type, data } = reader.readNow(entry) ?? (await reader.read(entry))
    const at = indexer.end
    const base = indexer.addBase(name, type, data, at)
    if (base.length === 0) continue
    await spool.complete(base, at)
    await drive(indexer.resolve(spool), options)
  }
}
