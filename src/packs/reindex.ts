import { randomUUID } from 'node:crypto'
import type { Slices } from '../../protocol/ports.js'
import { checked } from './cached-pack.js'
import { emptyView } from './empty-view.js'
import { ingestPack } from './ingest.js'
import type { PackName } from './local-packs.js'
import type { Sidecars } from './pack-sidecars.js'
import { windowBytes, type StageDependencies } from './stage.js'

export interface ReindexOptions {
  readonly slices: Slices
  readonly signal: AbortSignal
}

/**
 * Makes the sidecars of a stored pack anew, as `stagePack` made them: the bytes are spooled, hashed, and every object is named again. On this thread,
 * in slices.
 * @throws HubError `corrupt` when the bytes are not those of the pack; `storage-full`; ProtocolError `bad-pack`, `bad-object`, `too-large`, `cancelled`
 */
export async function reindexPack(
  { spool, limits, budget, turns }: Pick<StageDependencies, 'spool' | 'limits' | 'budget' | 'turns'>,
  pack: PackName,
  chunks: AsyncIterable<Uint8Array>,
  { slices, signal }: ReindexOptions,
): Promise<Sidecars> {
  const endTurn = await turns.take(['reindexing'], signal)
  try {
    const spooled = await spool.receive(randomUUID(), checked(pack, chunks))
    const release = await budget.reserve(limits.cacheBytes + windowBytes, signal).catch(async (error: unknown) => {
      await spooled.dispose()
      throw error
    })
    try {
      // A stored pack has all its delta bases, so nothing is looked up.
      return (await ingestPack(spooled, async () => emptyView, limits, { slices })).sidecars
    } finally {
      release()
      await spooled.dispose()
    }
  } finally {
    endTurn()
  }
}
