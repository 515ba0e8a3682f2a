import type { Queryable, Transaction } from './pool.js'
import { sql } from './sql.js'

export type TokenRole = 'read' | 'write' | 'fine-grained'

export interface TokenRow {
  readonly id: number
  readonly namespaceId: number
  readonly name: string
  readonly role: TokenRole
  readonly createdAt: Date
  readonly expiresAt: Date | null
}

interface Row {
  id: number
  namespace_id: number
  name: string
  role: TokenRole
  created_at: Date
  expires_at: Date | null
}

const columns = sql`id, namespace_id, name, role, created_at, expires_at`

const toToken = (row: Row): TokenRow => ({
  id: row.id,
  namespaceId: row.namespace_id,
  name: row.name,
  role: row.role,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
})

/** A live token by the SHA-256 of its text. Revoked and expired ones are not found. */
export async function findTokenByHash(db: Queryable, hash: Uint8Array): Promise<TokenRow | undefined> {
  const [row] = await db.query<Row>(sql`
    SELECT ${columns} FROM tokens WHERE hash = ${hash} AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`)
  return row && toToken(row)
}

/** Undefined: that hash is taken, which for a random token means it is the same token. */
export async function insertToken(
  tx: Transaction,
  token: {
    readonly namespaceId: number
    readonly name: string
    readonly role: 'read' | 'write'
    readonly hash: Uint8Array
    readonly expiresAt?: Date | undefined
  },
): Promise<TokenRow | undefined> {
  const [row] = await tx.query<Row>(sql`
    INSERT INTO tokens (namespace_id, name, role, hash, expires_at)
    VALUES (${token.namespaceId}, ${token.name}, ${token.role}, ${token.hash}, ${token.expiresAt ?? null})
    ON CONFLICT (hash) DO NOTHING RETURNING ${columns}`)
  return row && toToken(row)
}

/** Ends a token at once. False: there was no live one of that id. */
export async function revokeToken(tx: Transaction, id: number): Promise<boolean> {
  return (await tx.execute(sql`UPDATE tokens SET revoked_at = now() WHERE id = ${id} AND revoked_at IS NULL`)) === 1
}

/** Ends all live tokens of that name but the one with this hash. Comes back with how many. */
export async function revokeTokensNamed(tx: Transaction, namespaceId: number, name: string, exceptHash: Uint8Array): Promise<number> {
  return tx.execute(sql`
    UPDATE tokens SET revoked_at = now()
    WHERE namespace_id = ${namespaceId} AND name = ${name} AND hash <> ${exceptHash} AND revoked_at IS NULL`)
}
