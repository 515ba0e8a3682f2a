import type { Transaction } from './pool.js'
import { named, sql } from './sql.js'

/** Queues an event that is delivered once or more after the transaction, by whoever listens. `payload` is plain JSON. */
export async function appendEvent(tx: Transaction, repoId: number, kind: string, payload: object): Promise<void> {
  await tx.execute(
    named('append-event', sql`INSERT INTO outbox (repo_id, kind, payload) VALUES (${repoId}, ${kind}, ${JSON.stringify(payload)}::jsonb)`),
  )
}
