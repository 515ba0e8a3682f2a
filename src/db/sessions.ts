import type { Queryable, Transaction } from './pool.js'
import { sql } from './sql.js'

/** A session that has not run out. Whether its token still opens anything is another question. */
export interface SessionRow {
  /** SHA-256 of the session's id. */
  readonly hash: Buffer
  /** SHA-256 of the token it was opened with. */
  readonly tokenHash: Buffer
}

export async function findSessionByHash(db: Queryable, hash: Uint8Array): Promise<SessionRow | undefined> {
  const [row] = await db.query<{ hash: Buffer; token_hash: Buffer }>(sql`
    SELECT s.hash, t.hash AS token_hash FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.hash = ${hash} AND s.expires_at > now()`)
  return row && { hash: row.hash, tokenHash: row.token_hash }
}

export async function insertSession(
  tx: Transaction,
  { hash, tokenId, lifetimeSeconds }: { readonly hash: Uint8Array; readonly tokenId: number; readonly lifetimeSeconds: number },
): Promise<void> {
  await tx.execute(sql`
    INSERT INTO sessions (hash, token_id, expires_at) VALUES (${hash}, ${tokenId}, now() + make_interval(secs => ${lifetimeSeconds}::float8))`)
}

/** False: there was none. */
export async function deleteSession(tx: Transaction, hash: Uint8Array): Promise<boolean> {
  return (await tx.execute(sql`DELETE FROM sessions WHERE hash = ${hash}`)) === 1
}

/** Removes some of those that ran out: at most `limit`, so that nobody's sign-in has to clean up for all. */
export async function deleteExpiredSessions(tx: Transaction, limit: number): Promise<number> {
  return tx.execute(sql`
    DELETE FROM sessions WHERE hash IN (
      SELECT s.hash FROM sessions s WHERE s.expires_at <= now() ORDER BY s.expires_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`)
}
