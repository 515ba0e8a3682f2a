import type { IndexLimits } from '../../protocol/pack/indexer.js'
import type { PackView, WorkOptions } from '../../protocol/ports.js'
import { checkCollisions, checkExternals, checkSpecialBlobs } from './check-connections.js'
import { ingestPack, type IngestedPack, type IngestHelp } from './ingest.js'
import type { SpooledPack } from './spool.js'
import { StagedView } from './staged-view.js'

export interface CheckDetails extends IngestHelp {
  /** It was made of entries that are here, bytes and all: they are named anew, and not compared with themselves. */
  readonly copied?: boolean
}

/**
 * Everything that is checked of a received pack before it may be stored: by itself, and against the repository that `view` shows.
 * Undefined: it is an empty one, as clients send it for a branch on a commit that is here.
 * @throws ProtocolError `bad-pack`, `bad-object`, `missing-object`, `too-large`, `cancelled`
 */
export async function checkPack(
  spool: SpooledPack,
  openView: () => Promise<PackView>,
  limits: IndexLimits,
  options: WorkOptions,
  { copied = false, ...help }: CheckDetails = {},
): Promise<IngestedPack | undefined> {
  const pack = await ingestPack(spool, openView, limits, options, help)
  if (pack.objects === 0) return undefined
  const view = await openView()
  const staged = new StagedView(view, pack.table, spool)
  await checkExternals(pack, view, options.slices)
  await checkSpecialBlobs(staged, pack, options.slices)
  if (!copied) await checkCollisions(staged, view.packCount, view, pack, options.slices)
  return pack
}

/** A check under way. */
export interface PackCheck {
  /** The pack has grown. */
  grew(): void
  /**
   * The pack is whole, and is to be checked against this view. The spool is whole as well afterwards.
   * @throws what `checkPack` does
   */
  finish(view: PackView): Promise<IngestedPack | undefined>
  /** Nobody wants to know any more. */
  abandon(): void
}

/** Begins to check a pack, which may still be arriving: here, or in another thread. */
export type BeginCheck = (spool: SpooledPack, limits: IndexLimits, options: CheckOptions) => PackCheck

export interface CheckOptions extends WorkOptions, Pick<CheckDetails, 'copied'> {
  /** More is to come. */
  readonly growing: boolean
}

/** On this thread, once the pack is whole. */
export const checkHere: BeginCheck = (spool, limits, options) => ({
  grew: () => {},
  finish: (view) => checkPack(spool, async () => view, limits, options, { copied: options.copied ?? false }),
  abandon: () => {},
})
