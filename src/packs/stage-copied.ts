import type { CopiedPack } from './collect/copy-pack.js'
import type { CheckedPack, StoragePack } from './checked-pack.js'
import type { PublishPack } from './publish.js'
import type { Spool } from './spool.js'
import { inlineOf } from './stage.js'

export interface StageCopiedRequest {
  /** Names the spool. */
  readonly updateId: string
  /** What is known of the objects that were copied; `external`: they refer to others. */
  readonly connections: Pick<CheckedPack, 'roots' | 'external'>
}

/**
 * Spools a pack that is made of objects which are here. Nothing is stored, nothing visible; on an error nothing is left behind.
 * @throws what its chunks throw; ProtocolError `too-large`; HubError `storage-full`
 */
export async function stageCopied(
  { spool, publish }: { readonly spool: Spool; readonly publish: PublishPack },
  copied: CopiedPack,
  { updateId, connections }: StageCopiedRequest,
): Promise<StoragePack> {
  const spooled = await spool.receive(updateId, copied.chunks)
  try {
    const bytes = spooled.length
    const { sha1, sha256 } = spooled.checksums()
    const { objects, sidecars } = await copied.finish({ sha1, sha256, bytes })
    const inline = inlineOf(spooled)
    const pack: CheckedPack | undefined = objects === 0 ? undefined : { sha1, sha256, bytes, objects, source: 'gc', ...connections, inline, sidecars }
    return {
      pack,
      publish: async () => {
        if (pack) await publish(pack, spooled)
      },
      dispose: () => spooled.dispose(),
    }
  } catch (error) {
    await spooled.dispose()
    throw error
  }
}
