import type { Queryable, Transaction } from './pool.js'
import { sql } from './sql.js'

export type NamespaceKind = 'user' | 'organisation' | 'service'

export interface Namespace {
  readonly id: number
  readonly kind: NamespaceKind
  /** As it was written when the name was taken; names compare without case. */
  readonly name: string
  readonly fullName: string | null
  readonly email: string | null
  readonly isAdmin: boolean
  readonly state: 'active' | 'disabled'
  readonly accessVer: number
}

interface NamespaceRow {
  id: number
  kind: NamespaceKind
  name: string
  full_name: string | null
  email: string | null
  is_admin: boolean
  state: 'active' | 'disabled'
  access_ver: number
}

const columns = sql`id, kind, name, full_name, email, is_admin, state, access_ver`

const toNamespace = (row: NamespaceRow): Namespace => ({
  id: row.id,
  kind: row.kind,
  name: row.name,
  fullName: row.full_name,
  email: row.email,
  isAdmin: row.is_admin,
  state: row.state,
  accessVer: row.access_ver,
})

/** The namespace of that name, whatever its case. */
export async function findNamespace(db: Queryable, name: string): Promise<Namespace | undefined> {
  const [row] = await db.query<NamespaceRow>(sql`SELECT ${columns} FROM namespaces WHERE lower(name) = lower(${name})`)
  return row && toNamespace(row)
}

export async function findNamespaceById(db: Queryable, id: number): Promise<Namespace | undefined> {
  const [row] = await db.query<NamespaceRow>(sql`SELECT ${columns} FROM namespaces WHERE id = ${id}`)
  return row && toNamespace(row)
}

/**
 * A new namespace; undefined when the name is taken, or was given up by somebody else: their old links lead here.
 * Safe against two at once.
 */
export async function insertNamespace(
  tx: Transaction,
  { kind, name, isAdmin }: { readonly kind: NamespaceKind; readonly name: string; readonly isAdmin: boolean },
): Promise<Namespace | undefined> {
  const [row] = await tx.query<NamespaceRow>(sql`
    INSERT INTO namespaces (kind, name, is_admin)
    SELECT ${kind}, ${name}, ${isAdmin}::boolean
    WHERE NOT EXISTS (SELECT FROM namespace_tombstones WHERE name_key = lower(${name}))
    ON CONFLICT (lower(name)) DO NOTHING RETURNING ${columns}`)
  return row && toNamespace(row)
}

/** Every decision made about this actor before is to be made again. */
export async function raiseAccessVersion(tx: Transaction, namespaceId: number): Promise<void> {
  await tx.execute(sql`UPDATE namespaces SET access_ver = access_ver + 1 WHERE id = ${namespaceId}`)
}
