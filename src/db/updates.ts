import type { Database, Transaction } from './pool.js'
import { sql } from './sql.js'

/**
 * Says within the update's own transaction that it reached its end.
 * False: somebody has already given this update up, and the transaction must not be committed.
 */
export async function markDone(tx: Transaction, updateId: string, repoId: number): Promise<boolean> {
  const made = await tx.execute(sql`
    INSERT INTO updates (update_id, repo_id, outcome) VALUES (${updateId}::uuid, ${repoId}, 'done') ON CONFLICT DO NOTHING`)
  return made === 1
}

const outcomeWaitMs = 10_000

/**
 * Settles an update whose COMMIT got no answer. While the old transaction lives, the insert waits for it; once the row is ours,
 * the old one can never commit. See docs/git-storage.md, "If the connection dies at COMMIT".
 * @throws HubError `unavailable` when the database cannot be asked, lock timeouts included: then nobody knows
 */
export async function settleUnknownUpdate(db: Database, updateId: string): Promise<'done' | 'abandoned'> {
  return db.transaction(
    async (tx) => {
      const mine = await tx.execute(sql`
      INSERT INTO updates (update_id, outcome) VALUES (${updateId}::uuid, 'abandoned') ON CONFLICT DO NOTHING`)
      if (mine === 1) return 'abandoned'
      const [row] = await tx.query<{ outcome: 'done' | 'abandoned' }>(sql`SELECT outcome FROM updates WHERE update_id = ${updateId}::uuid`)
      return row?.outcome ?? 'abandoned'
    },
    { lockTimeoutMs: outcomeWaitMs },
  )
}
