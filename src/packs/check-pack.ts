import type { IndexLimits } from '../../protocol/pack/indexer.js'
import type { PackView, WorkOptions } from '../../protocol/ports.js'
import { checkCollisions, checkExternals, checkSpecialBlobs } from './check-connections.js'
import { ingestPack, type Assist, type IngestedPack } from './ingest.js'
import type { SpooledPack } from './spool.js'
import { StagedView } from './staged-view.js'

/**
 * Everything that is checked of a received pack before it may be stored: by itself, and against the repository that `view` shows.
 * Undefined: it is an empty one, as clients send it for a branch on a commit that is here.
 * @throws ProtocolError `bad-pack`, `bad-object`, `missing-object`, `too-large`, `cancelled`
 */
export async function checkPack(
  spool: SpooledPack,
  view: PackView,
  limits: IndexLimits,
  options: WorkOptions,
  assist?: Assist,
): Promise<IngestedPack | undefined> {
  const pack = await ingestPack(spool, view, limits, options, assist)
  if (pack.objects === 0) return undefined
  const staged = new StagedView(view, pack.table, spool)
  await checkExternals(pack, view, options.slices)
  await checkSpecialBlobs(staged, pack, options.slices)
  await checkCollisions(staged, view.packCount, view, pack, options.slices)
  return pack
}

/** Where a pack is checked: here or in another thread. The spool is whole afterwards. */
export type CheckPack = (spool: SpooledPack, view: PackView, limits: IndexLimits, options: WorkOptions) => Promise<IngestedPack | undefined>
