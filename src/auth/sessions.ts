import { randomBytes } from 'node:crypto'
import { appendAudit } from '../db/audit.js'
import type { Database } from '../db/pool.js'
import { deleteExpiredSessions, deleteSession, findSessionByHash, insertSession } from '../db/sessions.js'
import type { Versions } from '../db/versions.js'
import { actorOf, type SignedInActor } from './actor.js'
import { readCredentials } from './authenticate.js'
import { hashToken } from './tokens.js'

/** How long somebody stays signed in with a browser. */
export const sessionSeconds = 12 * 60 * 60
const idBytes = 32
const idShape = /^[A-Za-z0-9_-]{43}$/
/** Rows of expired sessions that one sign-in removes. */
const sweepLimit = 100

/** A session whose time is not over. It stands for its token: whether that still opens anything is asked with every request. */
export interface Session {
  /** Names the session without giving it away: what is bound to the session is bound to this. */
  readonly name: string
  /** SHA-256 of the token it was opened with. */
  readonly tokenHash: Buffer
}

export interface OpenedSession {
  /** 256 random bits. Returned here, and nowhere afterwards. */
  readonly id: string
  readonly actor: SignedInActor
}

/** Browsers that are signed in. */
export interface Sessions {
  /** Opens a session for whoever has this token, as it was pasted. Undefined: no live token is that. */
  open(token: string): Promise<OpenedSession | undefined>
  /** Undefined for anything that is no session now. */
  find(id: string): Promise<Session | undefined>
  /** Ends it, at once. Ending what is over is no error. */
  end(id: string, actorId: number | null): Promise<void>
}

export function createSessions({ db, versions }: { readonly db: Database; readonly versions: Pick<Versions, 'current'> }): Sessions {
  return {
    async open(token) {
      const credentials = readCredentials(`Bearer ${token.trim()}`)
      if (credentials.kind !== 'token') return undefined
      const { actor } = await versions.current({ tokenHash: credentials.hash })
      if (!actor) return undefined
      const id = randomBytes(idBytes).toString('base64url')
      await db.transaction(async (tx) => {
        await deleteExpiredSessions(tx, sweepLimit)
        await insertSession(tx, { hash: hashToken(id), tokenId: actor.token.id, lifetimeSeconds: sessionSeconds })
        await appendAudit(tx, { actorId: actor.id, action: 'session.open', namespaceId: actor.id, details: { tokenId: actor.token.id } })
      })
      return { id, actor: actorOf(actor) }
    },

    async find(id) {
      if (!idShape.test(id)) return undefined
      const row = await findSessionByHash(db, hashToken(id))
      return row && { name: row.hash.toString('hex'), tokenHash: row.tokenHash }
    },

    async end(id, actorId) {
      if (!idShape.test(id)) return
      await db.transaction(async (tx) => {
        if (!(await deleteSession(tx, hashToken(id)))) return
        await appendAudit(tx, { actorId, action: 'session.end', ...(actorId === null ? {} : { namespaceId: actorId }) })
      })
    },
  }
}
