import { ProtocolError } from '../../protocol/errors.js'
import type { IndexLimits } from '../../protocol/pack/indexer.js'
import type { PackView, Progress, Slices, StagedPack } from '../../protocol/ports.js'
import { oidFromBytes } from '../../protocol/oid.js'
import type { Oid } from '../../protocol/types.js'
import type { NewPack } from '../db/packs.js'
import type { ByteBudget } from './byte-budget.js'
import { reliedOn } from './check-connections.js'
import type { BeginCheck, PackCheck } from './check-pack.js'
import type { IngestedPack } from './ingest.js'
import type { CheckedPack, StagedRepoPack } from './checked-pack.js'
import type { PublishPack } from './publish.js'
import type { Snapshot } from './snapshot.js'
import type { SpooledPack, Spool } from './spool.js'
import { StagedView } from './staged-view.js'
import { startTimeLimit } from './time-limit.js'
import type { TurnKeys, Turns } from './turns.js'

export interface StageRequest {
  /** UUIDv7 of the update; names the spool. */
  readonly updateId: string
  /** New values of all commands but deletes. */
  readonly newOids: readonly Oid[]
  readonly source: NewPack['source']
  readonly slices: Slices
  readonly signal: AbortSignal
  /** Whose work it is: the repository, the user. */
  readonly turnKeys: TurnKeys
  readonly onProgress?: (progress: Progress) => void
  /** Called when the last byte has arrived. The staged pack releases what it opens. */
  readonly open: () => Promise<Snapshot>
}

export interface StageDependencies {
  readonly spool: Spool
  readonly limits: IndexLimits
  /** Delta bases and windows of all ingests together. */
  readonly budget: ByteBudget
  readonly turns: Turns
  readonly maxCheckMs: number
  readonly publish: PublishPack
  readonly beginCheck: BeginCheck
}

/** A pack up to this lives in the database. */
const maxInlineBytes = 128 * 1024
/** What an ingest needs beside its delta bases: read windows, the readers of two views. */
export const windowBytes = 4 * 1024 * 1024

/**
 * Spools, indexes and checks a pack against the repository as it stands once the last byte is there. Nothing is stored, nothing visible.
 * On an error nothing is left behind.
 * @throws ProtocolError `bad-pack`, `bad-object`, `missing-object`, `too-large`, `cancelled`; HubError `storage-full`
 */
export async function stagePack(
  deps: StageDependencies,
  chunks: AsyncIterable<Uint8Array> | undefined,
  request: StageRequest,
): Promise<StagedRepoPack> {
  const ingest = new Ingest(deps, request)
  let spooled: SpooledPack | undefined
  let snapshot: Snapshot | undefined
  try {
    spooled = chunks && (await deps.spool.receive(request.updateId, chunks, (pack) => ingest.follow(pack)))
    if (spooled) ingest.arrived(spooled)
    snapshot = await request.open()
    const ingested = spooled && (await ingest.finish(spooled, snapshot))
    return new Staged(deps.publish, snapshot, request, spooled, ingested)
  } catch (error) {
    snapshot?.release()
    await spooled?.dispose()
    throw error
  } finally {
    ingest.end()
  }
}

/** The check of one pack. It begins while the pack arrives if there is memory for it at once, else when it is there and its turn has come. */
class Ingest {
  readonly #deps: StageDependencies
  readonly #request: StageRequest
  #check: PackCheck | undefined
  /** Turn and memory, to be given back. */
  readonly #leave: (() => void)[] = []
  #triedEarly = false

  constructor(deps: StageDependencies, request: StageRequest) {
    this.#deps = deps
    this.#request = request
  }

  follow(spooled: SpooledPack): void {
    this.#beginAtOnce(spooled, this.#deps.limits, true)
    this.#check?.grew()
  }

  /** The pack is whole. What can be checked of it by itself is, while the repository is looked up. */
  arrived(spooled: SpooledPack): void {
    this.#beginAtOnce(spooled, this.#limitsOf(spooled), false)
  }

  /** If there is room for it now. Tried once: who gets none waits for it when the pack is whole. */
  #beginAtOnce(spooled: SpooledPack, limits: IndexLimits, growing: boolean): void {
    if (this.#triedEarly) return
    this.#triedEarly = true
    const { budget, turns } = this.#deps
    const endTurn = turns.tryTake(this.#request.turnKeys)
    if (!endTurn) return
    this.#leave.push(endTurn)
    const release = budget.tryReserve(limits.cacheBytes + windowBytes)
    if (!release) return
    this.#leave.push(release)
    this.#begin(spooled, limits, growing)
  }

  /** Undefined: the pack is empty. */
  async finish(spooled: SpooledPack, snapshot: Snapshot): Promise<IngestedPack | undefined> {
    const { budget, turns, maxCheckMs } = this.#deps
    const { signal, turnKeys } = this.#request
    if (this.#leave.length === 0) this.#leave.push(await turns.take(turnKeys, signal))
    if (!this.#check) {
      const limits = this.#limitsOf(spooled)
      this.#leave.push(await budget.reserve(limits.cacheBytes + windowBytes, signal))
      this.#begin(spooled, limits, false)
    }
    const limit = startTimeLimit(maxCheckMs, undefined, 'checking the pack')
    try {
      return await Promise.race([this.#check!.finish(snapshot), rejectedBy(limit.signal)])
    } catch (error) {
      throw limit.explain(error)
    } finally {
      limit.end()
    }
  }

  end(): void {
    this.#check?.abandon()
    for (const leave of this.#leave.splice(0)) leave()
  }

  /** Small packs have small bases: what a pack inflates to is seldom a hundred times its size. */
  #limitsOf(spooled: SpooledPack): IndexLimits {
    const { limits } = this.#deps
    return { ...limits, cacheBytes: Math.min(limits.cacheBytes, spooled.length * 100) }
  }

  #begin(spooled: SpooledPack, limits: IndexLimits, growing: boolean): void {
    const { slices, onProgress, source } = this.#request
    const copied = source === 'fold'
    this.#check = this.#deps.beginCheck(spooled, limits, { growing, copied, slices, ...(onProgress ? { onProgress } : {}) })
  }
}

const rejectedBy = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new ProtocolError('cancelled', 'the time is over')), { once: true })
  })

class Staged implements StagedRepoPack {
  readonly view: PackView
  readonly objects: number
  readonly pointers: StagedPack['pointers']
  readonly binaries: StagedPack['binaries']
  readonly basis: StagedRepoPack['basis']
  readonly pack: CheckedPack | undefined
  readonly externals: readonly Uint8Array[]
  readonly #publish: PublishPack
  readonly #snapshot: Snapshot
  readonly #spooled: SpooledPack | undefined

  constructor(publish: PublishPack, snapshot: Snapshot, request: StageRequest, spooled: SpooledPack | undefined, ingested: IngestedPack | undefined) {
    this.#publish = publish
    this.#snapshot = snapshot
    this.#spooled = spooled
    const { packsVer, gcEpoch } = snapshot.versions
    this.basis = { packsVer, gcEpoch }
    this.view = spooled && ingested ? new StagedView(snapshot, ingested.table, spooled) : snapshot
    this.objects = ingested?.objects ?? 0
    this.pointers = ingested?.pointers ?? []
    this.binaries = ingested?.binaries ?? []
    this.externals = reliedOn(ingested?.connections.externals ?? new Uint8Array(0), ingested?.table, request.newOids)
    this.pack = spooled && ingested && checkedPack(spooled, ingested, request.source)
  }

  async publish(): Promise<void> {
    if (this.pack && this.#spooled) await this.#publish(this.pack, this.#spooled)
  }

  recheck(view: PackView): readonly Oid[] {
    return this.externals.filter((oid) => view.find(oid, 'credit') === -1).map((oid) => oidFromBytes(oid))
  }

  async dispose(): Promise<void> {
    this.#snapshot.release()
    await this.#spooled?.dispose()
  }
}

function checkedPack(spooled: SpooledPack, ingested: IngestedPack, source: NewPack['source']): CheckedPack {
  const { sha1, sha256, objects, sidecars, connections } = ingested
  const bytes = spooled.length
  return {
    sha1,
    sha256,
    bytes,
    objects,
    source,
    roots: connections.roots,
    external: connections.externals.length > 0,
    inline: inlineOf(spooled),
    sidecars,
  }
}

/** The whole pack, if it is one for the database. */
export const inlineOf = (spooled: SpooledPack): Buffer | undefined =>
  spooled.length <= maxInlineBytes ? Buffer.from(spooled.read(0, spooled.length)) : undefined
