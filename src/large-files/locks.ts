import { randomUUID } from 'node:crypto'
import { deleteLock, insertLock, listLocks, type LockPosition, type LockRow } from '../db/lfs-locks.js'
import type { Database } from '../db/pool.js'
import { HubError } from '../errors.js'

/** That somebody works on a file of a repository. It binds nobody; clients warn by it. */
export interface FileLock {
  /** Not to be guessed, and of no use with another repository. */
  readonly id: string
  /** From the root of the repository. */
  readonly path: string
  readonly owner: { readonly id: number; readonly name: string }
  readonly lockedAt: Date
}

export interface LocksQuery {
  readonly path?: string | undefined
  readonly id?: string | undefined
  /** `nextCursor` of the page before. */
  readonly cursor?: string | undefined
  readonly limit?: number | undefined
}

export interface LocksPage {
  /** Oldest first. */
  readonly locks: readonly FileLock[]
  /** Undefined: there are no more. */
  readonly nextCursor: string | undefined
}

/** Who may do what was settled before. */
export interface Locks {
  /** The new lock, or the one that is there already, which may be somebody else's. @throws HubError `invalid` for what is no path */
  create(repoId: number, path: string, ownerId: number): Promise<{ readonly lock: FileLock; readonly created: boolean }>
  /** @throws HubError `invalid` for what is no cursor */
  list(repoId: number, query?: LocksQuery): Promise<LocksPage>
  find(repoId: number, id: string): Promise<FileLock | undefined>
  /** The lock that was removed; undefined: the repository has none of that id. */
  remove(repoId: number, id: string): Promise<FileLock | undefined>
}

export const maxLocksPage = 100
const maxPathBytes = 4096
const maxAttempts = 10

export function createLocks(db: Database): Locks {
  const find = async (repoId: number, id: string): Promise<FileLock | undefined> => {
    if (!isUuid(id)) return undefined
    const [row] = await listLocks(db, repoId, { id, limit: 1 })
    return row && toLock(row)
  }
  return {
    find,

    async create(repoId, path, ownerId) {
      const bytes = pathBytes(path)
      // Between the two statements the lock that was in the way may be removed.
      for (let attempts = 0; attempts < maxAttempts; attempts++) {
        const made = await insertLock(db, randomUUID(), repoId, bytes, ownerId)
        if (made) return { lock: toLock(made), created: true }
        const [found] = await listLocks(db, repoId, { path: bytes, limit: 1 })
        if (found) return { lock: toLock(found), created: false }
      }
      throw new HubError('busy', `the lock of ${path} comes and goes`)
    },

    async list(repoId, { path, id, cursor, limit = maxLocksPage } = {}) {
      const after = cursor === undefined ? undefined : parseCursor(cursor)
      // What can be locked by nobody is locked by nobody.
      if ((id !== undefined && !isUuid(id)) || (path !== undefined && !isLockable(path))) return { locks: [], nextCursor: undefined }
      const count = Math.min(Math.max(Math.trunc(limit), 1), maxLocksPage)
      const rows = await listLocks(db, repoId, { path: path === undefined ? undefined : Buffer.from(path), id, after, limit: count + 1 })
      const page = rows.slice(0, count)
      return { locks: page.map(toLock), nextCursor: rows.length > count ? cursorAfter(page.at(-1)!) : undefined }
    },

    async remove(repoId, id) {
      if (!isUuid(id)) return undefined
      const row = await deleteLock(db, repoId, id)
      return row && toLock(row)
    },
  }
}

const toLock = ({ id, path, ownerId, ownerName, lockedAt }: LockRow): FileLock => ({
  id,
  path: path.toString(),
  owner: { id: ownerId, name: ownerName },
  lockedAt,
})

const isUuid = (text: string): boolean => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)

/** A path as git has them in a tree: no empty part, none that leads out. */
const isLockable = (path: string): boolean =>
  path.isWellFormed() &&
  !path.includes('\0') &&
  Buffer.byteLength(path) <= maxPathBytes &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

function pathBytes(path: string): Buffer {
  if (!isLockable(path)) throw new HubError('invalid', `not the path of a file in a repository: ${JSON.stringify(path.slice(0, 100))}`)
  return Buffer.from(path)
}

const cursorAfter = ({ lockedAt, id }: LockPosition): string => `${lockedAt.getTime()}.${id}`

function parseCursor(cursor: string): LockPosition {
  const [, milliseconds = '', id = ''] = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(cursor) ?? []
  if (!isUuid(id)) throw new HubError('invalid', `not a cursor of a list of locks: ${JSON.stringify(cursor.slice(0, 100))}`)
  return { lockedAt: new Date(Number(milliseconds)), id }
}
