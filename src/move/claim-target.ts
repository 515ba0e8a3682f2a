import { identifyDatabase } from '../db/check-server.js'
import { findHubStore } from '../db/hub-store.js'
import { findMove, insertMove, type MoveRow } from '../db/hub-move.js'
import { findFilledTable, listTableNames, type HubTable } from '../db/hub-tables.js'
import { isUniqueViolation } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { Side } from './side.js'

/**
 * Looks before anything is written, tables among it, whether a database may be the target: it holds nothing, or what the move of this source left
 * there.
 * @throws HubError `config` when somebody else uses it, or the source does
 */
export async function checkUnused(source: Pick<Side, 'db'>, { db, place }: Pick<Side, 'db' | 'place'>): Promise<void> {
  const [here, there] = [await identifyDatabase(source.db), await identifyDatabase(db)]
  if (here.database === there.database)
    throw new HubError('config', 'source and target have the same database: both change places, database and store')
  if (here.encoding !== there.encoding) {
    throw new HubError(
      'config',
      `its database has the encoding ${there.encoding}, and the source's ${here.encoding}: make one with ENCODING '${here.encoding}'`,
    )
  }
  const tables = await listTableNames(db)
  if (tables.includes('hub_move') && (await findMove(db))) return
  const foreign = tables.includes('schema_migrations') ? undefined : tables[0]
  if (foreign !== undefined) throw notEmpty(place, `its database has a table ${foreign}`)
  const used = tables.includes('hub_store') ? await findHubStore(db) : undefined
  if (used && used.storeId !== (await findMove(source.db))?.otherStore) throw notEmpty(place, 'a hub uses its database')
}

/**
 * Makes an empty place the target of this move, or finds that it is already.
 * @throws HubError `config` when something else is there
 */
export async function claimTarget(source: Side & { readonly storeId: string }, target: Side, tables: readonly HubTable[]): Promise<void> {
  const move = await findMove(target.db)
  if (move) return checkOwn(move, source.storeId, target)
  const filled = await findFilledTable(target.db, tables)
  if (filled !== undefined) throw notEmpty(target.place, `its database has rows (in ${filled})`)
  for await (const { key } of target.store.list('')) throw notEmpty(target.place, `${target.storeName} holds ${key}`)
  await insertMove(target.db, { state: 'arriving', otherStore: source.storeId, otherPlace: source.place }).catch(async (error: unknown) => {
    if (!isUniqueViolation(error)) throw error
    checkOwn((await findMove(target.db))!, source.storeId, target) // another move was quicker
  })
}

const notEmpty = (place: string, why: string): HubError =>
  new HubError('config', `${place} is not empty: ${why}. Data moves into an empty database and an empty store`)

function checkOwn({ state, otherStore, otherPlace }: MoveRow, storeId: string, { place }: Side): void {
  if (state === 'moved') throw new HubError('config', `${place} is a place that data was moved away from, to ${otherPlace}: take an empty one`)
  if (otherStore !== storeId) throw new HubError('config', `${place} is taken: data of another hub is arriving there, from ${otherPlace}`)
}
