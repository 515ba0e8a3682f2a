import type { Queryable, Transaction } from './pool.js'
import { sql } from './sql.js'

export interface KeyRow {
  readonly kid: string
  readonly purpose: string
  /** The key, readable only with the hub's secret. */
  readonly sealed: Buffer
  /** A key signs until it retires and verifies until it expires. */
  readonly retired: boolean
}

/** Keys of one purpose that may still verify, newest first. */
export async function listKeys(db: Queryable, purpose: string): Promise<KeyRow[]> {
  return db.query<{ kid: string; purpose: string; sealed: Buffer; retired: boolean }>(sql`
    SELECT kid, purpose, sealed, COALESCE(retired_at <= now(), false) AS retired FROM keys
    WHERE purpose = ${purpose} AND (expires_at IS NULL OR expires_at > now())
    ORDER BY retired_at IS NOT NULL, created_at DESC, kid`)
}

/** All there are, expired ones among them. */
export async function listAllKeys(db: Queryable): Promise<Omit<KeyRow, 'retired'>[]> {
  return db.query<Omit<KeyRow, 'retired'>>(sql`SELECT kid, purpose, sealed FROM keys ORDER BY kid`)
}

export async function setSealedKey(tx: Transaction, kid: string, sealed: Uint8Array): Promise<void> {
  await tx.execute(sql`UPDATE keys SET sealed = ${sealed} WHERE kid = ${kid}`)
}

export async function insertKey(
  tx: Transaction,
  key: { readonly kid: string; readonly purpose: string; readonly sealed: Uint8Array },
): Promise<void> {
  await tx.execute(sql`INSERT INTO keys (kid, purpose, sealed) VALUES (${key.kid}, ${key.purpose}, ${key.sealed})`)
}

/** All keys of a purpose but one stop signing now, and verifying after `verifySeconds`. */
export async function retireKeys(tx: Transaction, purpose: string, exceptKid: string, verifySeconds: number): Promise<void> {
  await tx.execute(sql`
    UPDATE keys SET retired_at = now(), expires_at = now() + make_interval(secs => ${verifySeconds}::double precision)
    WHERE purpose = ${purpose} AND kid <> ${exceptKid} AND retired_at IS NULL`)
}

/** Lets one hub at a time make keys of a purpose, until the transaction ends. */
export async function lockKeyPurpose(tx: Transaction, purpose: string): Promise<void> {
  await tx.query(sql`SELECT pg_advisory_xact_lock(hashtextextended(${'keys:' + purpose}, 0))`)
}
