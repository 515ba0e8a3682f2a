import { LfsError } from './errors.js'
import { fieldsOf, optionalText, textField } from './json.js'

/** A lock on the wire. */
export interface WireLock {
  readonly id: string
  readonly path: string
  /** To the second. */
  readonly locked_at: string
  readonly owner: { readonly name: string }
}

/** A lock as the hub knows it. */
export interface Lock {
  readonly id: string
  readonly path: string
  readonly lockedAt: Date
  readonly owner: { readonly name: string }
}

export const wireLock = (lock: Lock): WireLock => ({
  id: lock.id,
  path: lock.path,
  locked_at: lock.lockedAt.toISOString().replace(/\.\d+Z$/, 'Z'),
  owner: { name: lock.owner.name },
})

/** The path to be locked. Spec: git-lfs docs/api/locking.md, "Create Lock". @throws LfsError `bad-body` */
export const parseLockRequest = (body: unknown): { readonly path: string } => ({ path: textField(fieldsOf(body, 'a lock request'), 'path') })

export interface PageAsked {
  /** Where the last page ended. */
  readonly cursor: string | undefined
  /** Undefined: as many as we like. */
  readonly limit: number | undefined
}

/** Spec: git-lfs docs/api/locking.md, "List Locks for Verification". @throws LfsError `bad-body` */
export function parseVerifyLocks(body: unknown): PageAsked {
  const fields = fieldsOf(body, 'a request for locks')
  return { cursor: optionalText(fields, 'cursor') || undefined, limit: parseLimit(fields['limit']) }
}

/** Spec: git-lfs docs/api/locking.md, "Delete Lock". @throws LfsError `bad-body` */
export function parseUnlock(body: unknown): { readonly force: boolean } {
  const { force } = fieldsOf(body, 'an unlock request')
  if (force !== undefined && force !== null && typeof force !== 'boolean') throw new LfsError('bad-body', 'force must be true or false')
  return { force: force === true }
}

/** Nothing and 0: as many as we like. @throws LfsError `bad-body` */
export function parseLimit(limit: unknown): number | undefined {
  if (limit === undefined || limit === null || limit === '' || Number(limit) === 0) return undefined
  const number = Number(limit)
  if (!Number.isSafeInteger(number) || number < 0) throw new LfsError('bad-body', 'limit must be a whole number')
  return number
}
