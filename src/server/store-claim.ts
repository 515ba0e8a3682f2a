import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { beginLockSession, endSession, ensureHubStore, setStoreMarked, tryStoreLock, type SessionId } from '../db/hub-store.js'
import type { Database, DirectConnection } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { BlobStore } from '../storage/blob-store.js'
import { storeIdKey } from '../storage/keys.js'
import { readStoreId } from '../storage/store-id.js'
import { oneChunk } from '../storage/whole-bytes.js'

export interface StoreClaim {
  release(): Promise<void>
}

export interface StoreClaimOptions {
  readonly db: Database
  readonly store: BlobStore
  /** Every hub on this database has the same store: then they may be several. */
  readonly shared: boolean
  /** For complaints, such as `the bucket models of https://…`. */
  readonly storeName: string
  /** Another hub took the place of this one while the database was away: it has to end. */
  readonly onLost: (error: HubError) => void
  /** How often it is asked whether the lock is still held. */
  readonly checkEveryMs?: number
  /** How long an answer to that may take. Then the session is given up, and another takes its place. */
  readonly answerMs?: number
}

const defaultAnswerMs = 10_000

/**
 * Makes sure that database and store belong together, and that nobody works on them who would not see what this hub writes: a hub with a store of
 * its own has the database for itself. Rows that mean bytes in another store would be taken for lost ones.
 * @throws HubError `config`
 */
export async function claimStore(options: StoreClaimOptions): Promise<StoreClaim> {
  const own: SessionId[] = []
  const held = await takeLock(options, own)
  try {
    await ensureSameStore(options)
  } catch (error) {
    await held.close()
    throw error
  }
  return keepLock(options, held, own)
}

/**
 * `own`: sessions of this hub that are out of reach, and that the server may take to be alive still: they would keep the hub itself from its place.
 * They are ended, and the new one is the only one in the list afterwards, whether it has the lock or its answer was lost.
 * @throws HubError `config` when somebody else has it, `unavailable`, `busy`
 */
async function takeLock({ db, shared, storeName, answerMs = defaultAnswerMs }: StoreClaimOptions, own: SessionId[]): Promise<DirectConnection> {
  const connection = await db.direct({ answerMs })
  try {
    const session = await beginLockSession(connection)
    for (const lost of own) await endSession(connection, lost)
    own.splice(0, own.length, session)
    if (await tryStoreLock(connection, { shared })) return connection
  } catch (error) {
    await connection.close().catch(() => undefined)
    throw error
  }
  await connection.close()
  throw new HubError(
    'config',
    shared
      ? 'a hub that keeps its bytes on a disk of its own is using this database (DATABASE_URL): stop it, or give it the same CAIRN_S3_BUCKET'
      : `another hub is using this database (DATABASE_URL), and this one would keep its bytes in ${storeName}: several hubs need a store that all of them reach (CAIRN_S3_BUCKET)`,
  )
}

/** A lock of a session ends with the session, and that with the server: it is taken again before somebody else does. */
function keepLock(options: StoreClaimOptions, first: DirectConnection, own: SessionId[]): StoreClaim {
  const { checkEveryMs = 5_000, shared, onLost } = options
  const ended = new AbortController()
  let connection: DirectConnection | undefined = first
  /** Comes back when it is held. */
  const hold = async (): Promise<void> => {
    try {
      // Once more on the same session is always had: only its end, or silence, is found out so.
      if (connection && (await tryStoreLock(connection, { shared }))) return
    } catch {
      await connection?.close().catch(() => undefined)
      connection = undefined
    }
    connection = await takeLock(options, own)
  }
  const watching = (async () => {
    for (;;) {
      await delay(checkEveryMs, undefined, { signal: ended.signal, ref: false })
      try {
        await hold()
      } catch (error) {
        if (error instanceof HubError && error.code === 'config') return onLost(error)
        // the database is away or silent, and what nobody can ask is asked again
      }
    }
  })().catch(() => undefined)
  return {
    async release() {
      ended.abort()
      await watching
      await connection?.close().catch(() => undefined)
    },
  }
}

async function ensureSameStore({ db, store, storeName }: StoreClaimOptions): Promise<void> {
  const { storeId, marked } = await ensureHubStore(db, randomUUID())
  let found = await readStoreId(store)
  if (found === undefined && !marked) {
    await store.put(storeIdKey, oneChunk(Buffer.from(`${storeId}\n`)), { ifAbsent: true })
    found = await readStoreId(store)
  }
  if (found === undefined)
    throw new HubError('config', `${storeName} is not the store of this database: it has no ${storeIdKey}. Is CAIRN_S3_BUCKET or CAIRN_DATA right?`)
  if (found !== storeId)
    throw new HubError(
      'config',
      `${storeName} belongs to another database: its ${storeIdKey} says ${found}, and this one has ${storeId}. Is DATABASE_URL, CAIRN_S3_BUCKET or CAIRN_DATA right?`,
    )
  if (!marked) await setStoreMarked(db)
}
