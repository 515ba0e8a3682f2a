import type { Config } from '../config/config.js'
import { HubError } from '../errors.js'
import { moveStore, undoMove, type Moved } from '../move/move-store.js'
import type { Log } from './ground.js'
import { checkApart, openSource, openTarget } from './move-sides.js'
import { claimStore, type StoreClaim } from './store-claim.js'

export interface MoveHubOptions {
  readonly source: Config
  readonly target: Config
  readonly acceptLost: boolean
  readonly say: (line: string) => void
  readonly log: Log
  readonly signal: AbortSignal
}

/** Moves a hub's data between the places that two sets of settings name. @throws whatever `moveStore` does */
export async function moveHub({ source, target, acceptLost, say, log, signal }: MoveHubOptions): Promise<Moved | 'was moved before'> {
  checkApart(source, target)
  const from = await named('the source', openSource(source, log))
  try {
    const to = await named('the target', openTarget(target, log, { config: source, side: from.side }))
    let claim: StoreClaim | undefined
    const lost = new AbortController()
    try {
      return await moveStore({
        source: from.side,
        target: to.side,
        acceptLost,
        say,
        signal: AbortSignal.any([signal, lost.signal]),
        // Nobody else may be at the target, whatever store he has.
        claimStore: async () => {
          claim = await claimStore({
            db: to.side.db,
            store: to.side.store,
            shared: false,
            storeName: to.side.storeName,
            onLost: (error) => lost.abort(error),
          })
        },
      })
    } finally {
      await claim?.release()
      await to.close()
    }
  } finally {
    await from.close()
  }
}

/** Which of the two a complaint is about. */
async function named<T>(which: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening
  } catch (error) {
    throw error instanceof HubError ? new HubError(error.code, `${which}: ${error.message}`, { cause: error.cause }) : error
  }
}

/** Takes back that the data was moved away from where these settings lead. */
export async function undoMoveOf(config: Config, log: Log): Promise<{ readonly place: string; readonly at: Date }> {
  const { side, close } = await openSource(config, log)
  try {
    return await undoMove(side)
  } finally {
    await close()
  }
}
