import pg from 'pg'
import type { DatabaseAddress } from '../config/config.js'
import { CommitOutcomeUnknown, isConnectionLost, translateError } from './database-errors.js'
import { types } from './pg-types.js'
import type { Sql } from './sql.js'

export { CommitOutcomeUnknown, isConnectionLost, isDeadlock, isLockTimeout, isUniqueViolation } from './database-errors.js'

/** Where the database is. A connection string is read as `pg` reads it, which differs from libpq about TLS. */
export type ConnectionOptions =
  | { readonly connectionString: string }
  | DatabaseAddress
  | { readonly host: string; readonly port: number; readonly user: string; readonly password: string; readonly database: string }

/** What runs statements: a pool, a transaction, a connection. bigint comes back as number, bytea as Buffer; an array is one parameter. */
export interface Queryable {
  /**
   * @throws HubError `unavailable` when the database cannot be reached or no connection is free in time, `busy` when a time limit cut it off,
   * `bad-request` for text it cannot hold; other complaints as they are
   */
  query<R extends object>(statement: Sql): Promise<R[]>
  /** Comes back with the number of rows changed. */
  execute(statement: Sql): Promise<number>
}

export type Transaction = Queryable

export interface TransactionOptions {
  readonly isolation?: 'read committed' | 'repeatable read'
  readonly readOnly?: boolean
  /** How long a statement waits for somebody's lock. */
  readonly lockTimeoutMs?: number
  /**
   * The statements `work` begins with are sent along with BEGIN. They must change nothing, because a BEGIN that fails leaves them outside of any
   * transaction.
   */
  readonly locksFirst?: boolean
}

export interface DirectConnection extends Queryable {
  /** Also of a connection on which nothing comes any more. */
  close(): Promise<void>
}

export interface DirectOptions {
  /** A statement without an answer for that long is given up, as `unavailable`, and the connection with it. Undefined: it is waited for. */
  readonly answerMs?: number | undefined
  /** Told what others say on channels that this connection has `LISTEN`ed to. */
  readonly onNotification?: (payload: string) => void
  /** Called once when the connection has ended, whoever ended it. */
  readonly onEnd?: () => void
}

export interface PoolUsage {
  /** Open to the server, in use or not. */
  readonly connections: number
  readonly idle: number
  /** Work that waits for a connection. */
  readonly waiting: number
}

export interface Database extends Queryable {
  readonly connection: ConnectionOptions
  /**
   * Runs `work` between BEGIN and COMMIT; whatever it throws rolls back and is thrown on.
   * @throws CommitOutcomeUnknown when the connection died after COMMIT was sent
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>
  /** The pool as it is now. */
  usage(): PoolUsage
  /** A connection outside the pool, for session locks and to listen. The caller closes it. */
  direct(options?: DirectOptions): Promise<DirectConnection>
  close(): Promise<void>
}

export interface DatabaseOptions {
  readonly connection: ConnectionOptions
  /**
   * The server itself, when `connection` is a pooler that hands its connections from transaction to transaction. Then nothing is expected of a
   * connection beyond the transaction: time limits are set in each, and no statement is prepared under a name.
   */
  readonly directConnection?: ConnectionOptions | undefined
  readonly maxConnections: number
  /** Longer statements are cancelled by the server. This and the next two do not hold on direct connections. */
  readonly statementTimeoutMs: number
  /** How long a statement waits for somebody's lock where its transaction says nothing else. */
  readonly lockTimeoutMs?: number
  /** A transaction in which nothing happens for that long is ended by the server, with its connection. */
  readonly idleInTransactionTimeoutMs?: number
  /** For a new connection, and for one of the pool to be free. */
  readonly connectTimeoutMs?: number
  /** The settings that say where the database is, for messages. */
  readonly settings?: { readonly connection: string; readonly directConnection: string }
  /** Told of idle connections that broke. */
  readonly onIdleError?: (error: Error) => void
}

const defaultLimits = { lockTimeoutMs: 30_000, idleInTransactionTimeoutMs: 60_000, connectTimeoutMs: 10_000 }
/** Past its own limit a statement gets that long to say so; then its server is taken for gone. */
const answerGraceMs = 10_000
/** How long the server may take to hang up. */
const goodbyeMs = 2_000
/** Silence after which the system begins to ask whether the other side is still there. */
const keepAliveMs = 60_000

type Run = (client: pg.Pool | pg.ClientBase, statement: Sql) => Promise<pg.QueryResult>

const runner =
  ({ setting, prepare }: { readonly setting: string | undefined; readonly prepare: boolean }): Run =>
  async (client, { text, values, name }) => {
    try {
      return await client.query({ text, values: [...values], ...(name === undefined || !prepare ? {} : { name }) })
    } catch (error) {
      throw translateError(error, setting)
    }
  }

const queryable = (run: (statement: Sql) => Promise<pg.QueryResult>): Queryable => ({
  query: async <R extends object>(statement: Sql) => (await run(statement)).rows as R[],
  execute: async (statement) => (await run(statement)).rowCount ?? 0,
})

/** What is answered also tells that the transaction was begun. */
const answeredAfter = (begun: Promise<unknown>, db: Queryable): Queryable => ({
  query: async <R extends object>(statement: Sql) => (await Promise.all([db.query<R>(statement), begun]))[0],
  execute: async (statement) => (await Promise.all([db.execute(statement), begun]))[0],
})

type Limits = Readonly<Record<'statement_timeout' | 'lock_timeout' | 'idle_in_transaction_session_timeout', number>>

function begin({ isolation, readOnly }: TransactionOptions, limits: Partial<Limits>): Sql {
  const start = `BEGIN${isolation === undefined ? '' : ` ISOLATION LEVEL ${isolation.toUpperCase()}`}${readOnly ? ' READ ONLY' : ''}`
  const sets = Object.entries(limits).map(([name, ms]) => `SET LOCAL ${name} = ${Math.trunc(ms)}`)
  return { text: [start, ...sets].join('; '), values: [] }
}

const commit: Sql = { text: 'COMMIT', values: [] }

/** Says goodbye and waits until the server has hung up, but not for one that is out of reach. */
async function endClient(client: pg.Client): Promise<void> {
  const { stream } = (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection
  const timer = setTimeout(() => stream.destroy(), goodbyeMs)
  await client.end().finally(() => clearTimeout(timer))
}

/** Opens a pool. Nothing is connected until the first statement. */
export function openDatabase(options: DatabaseOptions): Database {
  const { lockTimeoutMs, idleInTransactionTimeoutMs, connectTimeoutMs } = { ...defaultLimits, ...options }
  const pooler = options.directConnection !== undefined
  const setting = options.settings?.connection
  const directSetting = pooler ? options.settings?.directConnection : setting
  const limits: Limits = {
    statement_timeout: options.statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
  }
  /** A pooler does not take them as parameters of a session. */
  const transactionLimits: Partial<Limits> = pooler ? limits : {}
  const clientOptions = (connection: ConnectionOptions): pg.ClientConfig => ({
    ...(connection as pg.ClientConfig),
    types,
    application_name: 'cairn',
    // Statements that nobody waits for in between are sent together.
    pipeline: true,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveMs,
  })
  const pool = new pg.Pool({
    ...clientOptions(options.connection),
    max: options.maxConnections,
    query_timeout: options.statementTimeoutMs + answerGraceMs,
    ...(pooler ? {} : limits),
  })
  pool.on('error', (error) => options.onIdleError?.(error))
  const run = runner({ setting, prepare: !pooler })
  const runDirect = runner({ setting: directSetting, prepare: true })
  let closed: Promise<void> | undefined

  /** A connection that `work` has for itself. Who calls `discard` has it closed afterwards. */
  async function withClient<T>(work: (client: pg.PoolClient, discard: (why: unknown) => void) => Promise<T>): Promise<T> {
    const client = await pool.connect().catch((error: unknown) => {
      throw translateError(error, setting)
    })
    let broken: Error | undefined
    const discard = (why: unknown) => {
      broken ??= why as Error
    }
    // A connection may die between two statements: without a listener that would end the process.
    client.on('error', discard)
    try {
      return await work(client, discard)
    } catch (error) {
      if (isConnectionLost(error)) discard(error)
      throw error
    } finally {
      client.off('error', discard)
      client.release(broken)
    }
  }

  /** Sent as one, so that it costs no more waiting than the statement alone. */
  const runAlone = (statement: Sql): Promise<pg.QueryResult> =>
    withClient(async (client, discard) => {
      const sent = await Promise.allSettled([begin({}, transactionLimits), statement, commit].map((each) => run(client, each)))
      for (const outcome of [sent[1]!, sent[0]!, sent[2]!]) if (outcome.status === 'rejected') throw outcome.reason
      const [, result, ended] = sent.map((outcome) => (outcome as PromiseFulfilledResult<pg.QueryResult>).value)
      if (ended!.command !== 'COMMIT') discard(new Error('a connection in an unknown state'))
      return result!
    })

  return {
    connection: options.connection,
    ...queryable(pooler ? runAlone : (statement) => run(pool, statement)),

    transaction: (work, transactionOptions = {}) =>
      withClient(async (client, discard) => {
        const { lockTimeoutMs: lock_timeout, locksFirst = false } = transactionOptions
        let committing = false
        try {
          const tx = queryable((statement) => run(client, statement))
          const begun = run(client, begin(transactionOptions, { ...transactionLimits, ...(lock_timeout === undefined ? {} : { lock_timeout }) }))
          if (locksFirst)
            begun.catch(() => undefined) // heard with the first answers
          else await begun
          const result = await work(locksFirst ? answeredAfter(begun, tx) : tx)
          committing = true
          const { command } = await run(client, commit)
          // The server answers so, and without an error, when a statement failed and `work` swallowed it.
          if (command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it had failed')
          return result
        } catch (error) {
          if (committing && isConnectionLost(error)) {
            discard(error)
            throw new CommitOutcomeUnknown(error)
          }
          // A rollback that fails leaves a connection nobody may use again; the server rolls back by itself.
          if (!committing) await client.query('ROLLBACK').catch(discard)
          throw error
        }
      }),

    usage: () => ({ connections: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),

    async direct({ answerMs, onNotification, onEnd } = {}) {
      const client = new pg.Client({
        ...clientOptions(options.directConnection ?? options.connection),
        ...(answerMs === undefined ? {} : { query_timeout: answerMs }),
      })
      client.on('error', () => undefined) // the next statement reports it
      if (onNotification) client.on('notification', ({ payload = '' }) => onNotification(payload))
      if (onEnd) client.once('end', onEnd)
      await client.connect().catch((error: unknown) => {
        throw translateError(error, directSetting)
      })
      return { ...queryable((statement) => runDirect(client, statement)), close: () => endClient(client) }
    },

    close: () => (closed ??= pool.end()),
  }
}
