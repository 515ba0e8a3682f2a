import type { Transaction } from './pool.js'
import { named, sql } from './sql.js'

export interface AuditEntry {
  /** Null: the hub itself, or somebody at its console. */
  readonly actorId: number | null
  /** `repo.push`, `token.create`, …: room, dot, verb. */
  readonly action: string
  readonly namespaceId?: number | undefined
  readonly repoId?: number | undefined
  /** Plain JSON. Never a secret. */
  readonly details?: object | undefined
}

/** Writes down who did what, in the transaction that does it. */
export async function appendAudit(tx: Transaction, entry: AuditEntry): Promise<void> {
  await tx.execute(
    named(
      'append-audit',
      sql`
    INSERT INTO audit (actor_id, action, namespace_id, repo_id, details)
    VALUES (${entry.actorId}, ${entry.action}, ${entry.namespaceId ?? null}, ${entry.repoId ?? null}, ${JSON.stringify(entry.details ?? {})}::jsonb)`,
    ),
  )
}
