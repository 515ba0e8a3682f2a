import { perTick } from './per-tick.js'
import type { Queryable, Transaction } from './pool.js'
import { named, sql } from './sql.js'

/*
 * What hubs on one database tell each other of purges. A notification is a hint: it comes at once, or never. What counts is `purge_epoch`.
 */

export const purgeChannel = 'cairn_purges'

export interface PurgeHint {
  readonly repoId: number
  /** What was kept or begun under an earlier one does not count any more. */
  readonly purgeEpoch: number
}

/** Tells all who listen of the epoch that this transaction has raised, once it is committed. */
export async function tellPurge(tx: Transaction, repoId: number): Promise<void> {
  await tx.query(sql`SELECT pg_notify(${purgeChannel}, id || ' ' || purge_epoch) FROM repositories WHERE id = ${repoId}`)
}

/** Undefined: it is of another release, or of somebody else. */
export function parsePurgeHint(payload: string): PurgeHint | undefined {
  const [, repoId, purgeEpoch] = /^(\d{1,15}) (\d{1,15})$/.exec(payload) ?? []
  return repoId === undefined ? undefined : { repoId: Number(repoId), purgeEpoch: Number(purgeEpoch) }
}

/** The epochs of repositories as they are now, in one statement. One that is not there is left out. */
export async function readPurgeEpochs(db: Queryable, repoIds: readonly number[]): Promise<Map<number, number>> {
  if (repoIds.length === 0) return new Map()
  const rows = await db.query<{ id: number; purge_epoch: number }>(
    named('purge-epochs', sql`SELECT id, purge_epoch FROM repositories WHERE id = ANY (${repoIds}::bigint[])`),
  )
  return new Map(rows.map(({ id, purge_epoch }) => [id, purge_epoch]))
}

/** The epoch of a repository as it is now; undefined: there is no such repository. */
export type FindPurgeEpoch = (repoId: number) => Promise<number | undefined>

const maxBatch = 1_000

/** All who ask in one tick share one statement. */
export const createFindPurgeEpoch = (db: Queryable): FindPurgeEpoch =>
  perTick(async (repoIds: readonly number[]) => {
    const epochs = await readPurgeEpochs(db, repoIds)
    return repoIds.map((repoId) => epochs.get(repoId))
  }, maxBatch)
