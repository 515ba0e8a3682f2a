import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database, Queryable, Transaction } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import type { BlobKey, BlobStore } from '../../src/storage/blob-store.js'
import { packKey } from '../../src/storage/keys.js'
import type { KeptBlob } from '../../src/kept/keep.js'

export const content = 'some bytes'

/** A key nobody else uses; keys from one call are in order. */
export function newKey(): BlobKey {
  return newKeys(1)[0]!
}
export const newKeys = (count: number): BlobKey[] => Array.from({ length: count }, () => packKey(randomBytes(32))).toSorted()

async function* bytes(): AsyncGenerator<Uint8Array> {
  yield Buffer.from(content)
}

/** As the packs do it. `written` hears of each. */
export const blobOf = (store: BlobStore, key: BlobKey, written?: (key: BlobKey) => void): KeptBlob => ({
  key,
  bytes: content.length,
  write: async () => {
    await store.put(key, bytes(), { ifAbsent: true })
    written?.(key)
  },
})

export async function insertRepository(db: Database): Promise<number> {
  const name = randomUUID()
  const [row] = await db.query<{ id: number }>(sql`
    WITH owner AS (INSERT INTO namespaces (kind, name) VALUES ('user', ${name}) RETURNING id)
    INSERT INTO repositories (namespace_id, type, name, visibility) SELECT id, 'model', ${name}, 'public' FROM owner RETURNING id`)
  return row!.id
}

/** `live`, `doomed`, `deleting`; undefined: no row. */
export async function stateOf(db: Queryable, key: BlobKey): Promise<string | undefined> {
  const [row] = await db.query<{ state: string }>(sql`SELECT state FROM stored_blob WHERE key = ${key}`)
  return row?.state
}

/** A row as an earlier hour left it. */
export async function insertBlob(db: Queryable, key: BlobKey, state: 'live' | 'doomed' | 'deleting', minutesAgo = 120): Promise<void> {
  await db.execute(sql`
    INSERT INTO stored_blob (key, bytes, state, last_used_at, state_at)
    VALUES (${key}, ${content.length}, ${state}, now() - ${minutesAgo} * interval '1 minute', now() - ${minutesAgo} * interval '1 minute')`)
}

/** Time passes for one row. */
export async function age(db: Queryable, key: BlobKey, minutes = 120): Promise<void> {
  await db.execute(sql`
    UPDATE stored_blob SET last_used_at = last_used_at - ${minutes} * interval '1 minute', state_at = state_at - ${minutes} * interval '1 minute'
    WHERE key = ${key}`)
}

export interface HeldTransaction {
  readonly tx: Transaction
  commit(): Promise<void>
  rollback(): Promise<void>
}

/** A transaction that stays open until it is told. */
export function holdTransaction(db: Database): Promise<HeldTransaction> {
  const undo = new Error('rolled back on purpose')
  return new Promise((resolve, reject) => {
    const end = Promise.withResolvers<void>()
    const ended = db.transaction(async (tx) => {
      resolve({
        tx,
        async commit() {
          end.resolve()
          await ended
        },
        async rollback() {
          end.reject(undo)
          await ended.catch((error: unknown) => {
            if (error !== undo) throw error
          })
        },
      })
      await end.promise
    })
    ended.catch(reject)
  })
}

/** Comes back once `count` connections to this database wait for somebody's lock. */
export async function untilWaiting(db: Queryable, count = 1): Promise<void> {
  const endsAt = performance.now() + 20_000
  for (;;) {
    const [row] = await db.query<{ n: number }>(sql`
      SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
    if (row!.n === count) return
    if (performance.now() > endsAt) throw new Error(`${row!.n} connections wait for a lock, not ${count}`)
    await sleep(5)
  }
}

/** A place where work stops until it is let go. */
export interface Gate {
  /** Somebody stands at it. */
  readonly reached: Promise<void>
  open(): void
  /** Lets go with an error. */
  fail(error: Error): void
}

interface OpenableGate extends Gate {
  pass(): Promise<void>
}

function newGate(): OpenableGate {
  const reached = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  opened.promise.catch(() => undefined) // whoever stands at it hears of it
  return {
    reached: reached.promise,
    open: () => opened.resolve(),
    fail: (error) => opened.reject(error),
    pass() {
      reached.resolve()
      return opened.promise
    },
  }
}

/** The same store, whose next `delete` stops at a gate before the bytes go. */
export function gatedDeletes(store: BlobStore): { readonly store: BlobStore; nextDelete(): Gate } {
  const gates: OpenableGate[] = []
  return {
    store: {
      ...store,
      async delete(key) {
        await gates.shift()?.pass()
        await store.delete(key)
      },
    },
    nextDelete() {
      const gate = newGate()
      gates.push(gate)
      return gate
    },
  }
}

/** The same database, whose transactions stop where a test wants them to: before a statement, or before COMMIT. */
export function steppingDatabase(db: Database): { readonly db: Database; pauseBefore(statement: RegExp | 'COMMIT'): Gate } {
  const pauses: { readonly statement: RegExp | 'COMMIT'; readonly gate: OpenableGate }[] = []
  const pass = async (text: string) => {
    const i = pauses.findIndex(({ statement }) => (statement === 'COMMIT' ? text === statement : statement.test(text)))
    if (i !== -1) await pauses.splice(i, 1)[0]!.gate.pass()
  }
  return {
    db: {
      ...db,
      transaction: (work, options) =>
        db.transaction(async (tx) => {
          // What is sent together goes one by one here: a pause comes after everything before it was done.
          let before: Promise<unknown> = Promise.resolve()
          const inTurn = <T>(text: string, run: () => Promise<T>): Promise<T> => {
            const turn = before.then(() => pass(text)).then(run)
            before = turn.catch(() => undefined)
            return turn
          }
          const result = await work({
            query: (statement) => inTurn(statement.text, () => tx.query(statement)),
            execute: (statement) => inTurn(statement.text, () => tx.execute(statement)),
          })
          await pass('COMMIT')
          return result
        }, options),
    },
    pauseBefore(statement) {
      const gate = newGate()
      pauses.push({ statement, gate })
      return gate
    },
  }
}

/** What a promise has come to by now, without waiting for it. */
export async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const settled = promise.then(
    () => true,
    () => true,
  )
  return Promise.race([settled, sleep(ms, false)])
}
