import { appendAudit } from '../db/audit.js'
import { findNamespace, insertNamespace, raiseAccessVersion, type Namespace } from '../db/namespaces.js'
import type { Database } from '../db/pool.js'
import { findTokenByHash, insertToken, revokeTokensNamed, type TokenRow } from '../db/tokens.js'
import { HubError } from '../errors.js'
import { namespaceNameComplaint } from './names.js'
import { createToken, hashToken } from './tokens.js'

export const adminName = 'admin'
const adminTokenName = 'admin-token'

/** @throws HubError `invalid` for an impossible name, `already-exists` for a taken one */
export async function createUser(
  db: Database,
  { name, isAdmin, actorId }: { readonly name: string; readonly isAdmin: boolean; readonly actorId: number | null },
): Promise<Namespace> {
  const complaint = namespaceNameComplaint(name)
  if (complaint !== undefined) throw new HubError('invalid', complaint)
  return db.transaction(async (tx) => {
    const user = await insertNamespace(tx, { kind: 'user', name, isAdmin })
    if (!user) throw new HubError('already-exists', `the name '${name}' is taken`)
    await appendAudit(tx, { actorId, action: 'user.create', namespaceId: user.id, details: { name, isAdmin } })
    return user
  })
}

export interface NewToken {
  readonly userId: number
  /** What its owner calls it. */
  readonly name: string
  readonly role: 'read' | 'write'
  readonly actorId: number | null
  readonly expiresAt?: Date | undefined
}

/** Makes a token. Its text is returned here and is nowhere afterwards. */
export async function createTokenFor(
  db: Database,
  { userId, name, role, actorId, expiresAt }: NewToken,
): Promise<{ readonly token: string; readonly row: TokenRow }> {
  if (name.length > 200) throw new HubError('invalid', `a token name of ${name.length} characters is over 200`)
  const token = createToken()
  return db.transaction(async (tx) => {
    const row = await insertToken(tx, { namespaceId: userId, name, role, hash: hashToken(token), expiresAt })
    if (!row) throw new HubError('conflict', 'a token that random already exists')
    await raiseAccessVersion(tx, userId)
    await appendAudit(tx, { actorId, action: 'token.create', namespaceId: userId, details: { tokenId: row.id, name, role } })
    return { token, row }
  })
}

/**
 * Sees to it that the user `admin` exists, is an admin, and that this token is his; a token he was given the same way before ends.
 * Does nothing when all is so already. Safe on several replicas at once.
 */
export async function ensureAdmin(db: Database, token: string): Promise<void> {
  const hash = hashToken(token)
  const existing = await findNamespace(db, adminName)
  const row = existing && (await findTokenByHash(db, hash))
  if (existing?.isAdmin && existing.state === 'active' && row?.namespaceId === existing.id && row.role === 'write') return
  await db.transaction(async (tx) => {
    const made = await insertNamespace(tx, { kind: 'user', name: adminName, isAdmin: true })
    const admin = made ?? (await findNamespace(tx, adminName))
    if (!admin) throw new HubError('config', `the name '${adminName}' belonged to somebody else once: the first user cannot be made`)
    if (!admin.isAdmin || admin.state !== 'active') throw new HubError('config', `the user '${adminName}' exists and is not an active admin`)
    const revoked = await revokeTokensNamed(tx, admin.id, adminTokenName, hash)
    const inserted = await insertToken(tx, { namespaceId: admin.id, name: adminTokenName, role: 'write', hash })
    if (!inserted && (await findTokenByHash(tx, hash))?.namespaceId !== admin.id) {
      throw new HubError('config', "the admin token was revoked, or is somebody else's: choose another")
    }
    if (!inserted && revoked === 0) return
    await raiseAccessVersion(tx, admin.id)
    await appendAudit(tx, { actorId: null, action: 'admin.ensure', namespaceId: admin.id, details: { created: made !== undefined, revoked } })
  })
}
