import { randomUUID } from 'node:crypto'
import { parseLfsOid, type LfsOid } from '../../lfs/types.js'
import { insertReservations, isRoomExceeded, lockRoom } from '../db/lfs-uploads.js'
import type { Database, Transaction } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { LargeFiles } from './large-files.js'

export interface ReserveDependencies {
  readonly db: Database
  /** How much all that is under way, and to come, may take together, now. */
  readonly reservableBytes: () => Promise<number>
}

/**
 * Runs what asks for room, alone, and lets it stand if there is that much.
 * @throws HubError `storage-full`
 */
export async function inRoom<T>({ db, reservableBytes }: ReserveDependencies, ask: (tx: Transaction) => Promise<T>): Promise<T> {
  const maxBytes = await reservableBytes()
  return db.transaction(async (tx) => {
    await lockRoom(tx)
    const result = await ask(tx)
    if (await isRoomExceeded(tx, maxBytes)) throw new HubError('storage-full', `uploads under way may take ${maxBytes} bytes, and no more are left`)
    return result
  })
}

/** An object asked for again, by the same actor for the same repository, has the reservation it had. */
export function createReserve(deps: ReserveDependencies): LargeFiles['reserve'] {
  return async ({ repoId, actorId, objects, lifetimeMs }) => {
    const byOid = new Map(objects.map((object) => [object.oid, object]))
    const wanted = [...byOid.values()]
    if (wanted.length === 0) return new Map()
    const newIds = wanted.map(() => randomUUID())
    const rows = await inRoom(deps, (tx) => insertReservations(tx, { repoId, actorId }, wanted, newIds, lifetimeMs))
    return new Map<LfsOid, string>(rows.map(({ oid, id }) => [parseLfsOid(oid), id]))
  }
}
