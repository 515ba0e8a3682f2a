import { setTimeout as delay } from 'node:timers/promises'
import { CommitOutcomeUnknown, isConnectionLost } from './database-errors.js'
import type { Database, Transaction } from './pool.js'
import { named, sql } from './sql.js'

/**
 * Says within the update's own transaction that it reached its end.
 * False: somebody has already given this update up, and the transaction must not be committed.
 */
export async function markDone(tx: Transaction, updateId: string, repoId: number): Promise<boolean> {
  const made = await tx.execute(
    named(
      'mark-update-done',
      sql`
    INSERT INTO updates (update_id, repo_id, outcome) VALUES (${updateId}::uuid, ${repoId}, 'done') ON CONFLICT DO NOTHING`,
    ),
  )
  return made === 1
}

/** For the old transaction to end, and for a database that is just being started again. */
const outcomeWaitMs = 10_000
const retryMs = 250

/**
 * Settles an update whose COMMIT got no answer. While the old transaction lives, the insert waits for it; once the row is ours,
 * the old one can never commit. See docs/git-storage.md, "If the connection dies at COMMIT".
 * @throws HubError `unavailable` when the database could not be asked for ten seconds, `busy` when the old transaction lived on: then nobody knows
 */
export async function settleUnknownUpdate(db: Database, updateId: string): Promise<'done' | 'abandoned'> {
  const deadline = performance.now() + outcomeWaitMs
  for (;;) {
    try {
      return await askOutcome(db, updateId)
    } catch (error) {
      // Whether our own row stands may be unknown as well: asking again finds it.
      const lost = error instanceof CommitOutcomeUnknown || isConnectionLost(error)
      if (!lost || performance.now() > deadline) throw error
      await delay(retryMs)
    }
  }
}

const askOutcome = (db: Database, updateId: string): Promise<'done' | 'abandoned'> =>
  db.transaction(
    async (tx) => {
      const mine = await tx.execute(sql`
      INSERT INTO updates (update_id, outcome) VALUES (${updateId}::uuid, 'abandoned') ON CONFLICT DO NOTHING`)
      if (mine === 1) return 'abandoned'
      const [row] = await tx.query<{ outcome: 'done' | 'abandoned' }>(sql`SELECT outcome FROM updates WHERE update_id = ${updateId}::uuid`)
      return row?.outcome ?? 'abandoned'
    },
    { lockTimeoutMs: outcomeWaitMs },
  )
