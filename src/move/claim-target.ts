import { findHubStore } from '../db/hub-store.js'
import { findMove, insertMove, type MoveRow } from '../db/hub-move.js'
import { findFilledTable, type HubTable } from '../db/hub-tables.js'
import { isUniqueViolation } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { Side } from './side.js'

/**
 * Makes an empty place the target of this move, or finds that it is already.
 * @throws HubError `config` when something else is there
 */
export async function claimTarget(source: Side & { readonly storeId: string }, target: Side, tables: readonly HubTable[]): Promise<void> {
  const move = await findMove(target.db)
  if (move) return checkOwn(move, source.storeId, target)
  const filled = (await findFilledTable(target.db, tables)) ?? ((await findHubStore(target.db)) ? 'hub_store' : undefined)
  if (filled !== undefined) throw notEmpty(target, `its database has rows (in ${filled})`)
  for await (const { key } of target.store.list('')) throw notEmpty(target, `${target.storeName} holds ${key}`)
  await insertMove(target.db, { state: 'arriving', otherStore: source.storeId, otherPlace: source.place }).catch(async (error: unknown) => {
    if (!isUniqueViolation(error)) throw error
    checkOwn((await findMove(target.db))!, source.storeId, target) // another move was quicker
  })
}

const notEmpty = ({ place }: Side, why: string): HubError =>
  new HubError('config', `the target, ${place}, is not empty: ${why}. Data moves into an empty database and an empty store`)

function checkOwn({ state, otherStore, otherPlace }: MoveRow, storeId: string, { place }: Side): void {
  if (state === 'moved')
    throw new HubError('config', `the target, ${place}, is a place that data was moved away from, to ${otherPlace}: take an empty one`)
  if (otherStore !== storeId)
    throw new HubError('config', `the target, ${place}, is taken: data of another hub is arriving there, from ${otherPlace}`)
}
