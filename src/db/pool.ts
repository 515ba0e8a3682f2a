import pg from 'pg'
import { HubError } from '../errors.js'
import type { Sql } from './sql.js'

/** Where the database is. `host` may be the folder of a Unix socket. */
export type ConnectionOptions =
  | { readonly connectionString: string }
  | { readonly host: string; readonly port: number; readonly user: string; readonly password: string; readonly database: string }

/** What runs statements: a pool, a transaction, a connection. bigint comes back as number, bytea as Buffer; an array is one parameter. */
export interface Queryable {
  /** @throws HubError `unavailable` when the database cannot be reached, `bad-request` for text it cannot hold; other complaints as they are */
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
  close(): Promise<void>
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
  /** A connection outside the pool, for session locks. The caller closes it. */
  direct(): Promise<DirectConnection>
  close(): Promise<void>
}

export interface DatabaseOptions {
  readonly connection: ConnectionOptions
  /** Beside a pooler: where session locks work. */
  readonly directConnection?: ConnectionOptions | undefined
  readonly maxConnections: number
  /** Longer statements are cancelled by the server. Not on direct connections. */
  readonly statementTimeoutMs: number
  readonly connectTimeoutMs?: number
  /** Told of idle connections that broke. */
  readonly onIdleError?: (error: Error) => void
}

/** COMMIT was sent and its answer never came: the transaction may stand or not. */
export class CommitOutcomeUnknown extends Error {
  constructor(cause: unknown) {
    super('the connection was lost while the transaction was committed', { cause })
    this.name = 'CommitOutcomeUnknown'
  }
}

const int8Oid = 20
const int8ArrayOid = 1016
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: string) => {
    if (oid === int8Oid && format !== 'binary') return parseInt8
    if (oid === int8ArrayOid && format !== 'binary') return parseInt8Array
    return pg.types.getTypeParser(oid, format as 'text')
  },
}

function parseInt8(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is over 2^53`)
  return value
}

const parseTextArray = pg.types.getTypeParser(int8ArrayOid as number as 20) as (text: string) => readonly (string | null)[]

function parseInt8Array(text: string): (number | null)[] {
  return parseTextArray(text).map((item) => (item === null ? null : parseInt8(item)))
}

const sqlState = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return sqlState(error) === '23505' && (constraint === undefined || (error as { constraint?: string }).constraint === constraint)
}

/** A lock was not had within `lockTimeoutMs`. */
export const isLockTimeout = (error: unknown): boolean => sqlState(error) === '55P03'

/** The server or the way to it is gone; the statement may or may not have run. */
export function isConnectionLost(error: unknown): boolean {
  if (error instanceof HubError) return error.code === 'unavailable'
  const code = sqlState(error)
  if (code !== undefined && /^(08|57P0[1-5]$|53300$)/.test(code)) return true
  if (code !== undefined && /^E(CONN|PIPE|NOTFOUND|TIMEDOUT|NOENT|HOST|NET|AI_)/.test(code)) return true
  return (
    error instanceof Error && /Connection terminated|not queryable|Client has encountered|timeout exceeded when trying to connect/.test(error.message)
  )
}

/** The server cannot hold every text that JSON or an address can say: not a NUL, nor half a pair of surrogates. */
function isUnstorableText(error: unknown): boolean {
  const code = sqlState(error)
  return code === '22021' || code === '22P05' || (code === '22P02' && /type json/.test((error as Error).message))
}

function translate(error: unknown): unknown {
  if (error instanceof HubError) return error
  if (isConnectionLost(error)) return new HubError('unavailable', 'the database cannot be reached', { cause: error })
  if (isUnstorableText(error)) return new HubError('bad-request', 'a text has characters that cannot be stored, such as NUL', { cause: error })
  return error
}

async function run(client: pg.Pool | pg.ClientBase, statement: Sql): Promise<pg.QueryResult> {
  try {
    const { text, values, name } = statement
    return await client.query({ text, values: [...values], ...(name === undefined ? {} : { name }) })
  } catch (error) {
    throw translate(error)
  }
}

const queryable = (client: pg.Pool | pg.ClientBase): Queryable => ({
  query: async <R extends object>(statement: Sql) => (await run(client, statement)).rows as R[],
  execute: async (statement) => (await run(client, statement)).rowCount ?? 0,
})

/** What is answered also tells that the transaction was begun. */
const answeredAfter = (begun: Promise<unknown>, db: Queryable): Queryable => ({
  query: async <R extends object>(statement: Sql) => (await Promise.all([db.query<R>(statement), begun]))[0],
  execute: async (statement) => (await Promise.all([db.execute(statement), begun]))[0],
})

function begin({ isolation, readOnly, lockTimeoutMs }: TransactionOptions): string {
  const start = `BEGIN${isolation === undefined ? '' : ` ISOLATION LEVEL ${isolation.toUpperCase()}`}${readOnly ? ' READ ONLY' : ''}`
  return lockTimeoutMs === undefined ? start : `${start}; SET LOCAL lock_timeout = ${Math.trunc(lockTimeoutMs)}`
}

/** Opens a pool. Nothing is connected until the first statement. */
export function openDatabase(options: DatabaseOptions): Database {
  const settings = (connection: ConnectionOptions): pg.ClientConfig => ({
    ...connection,
    types,
    application_name: 'cairn',
    // Statements that nobody waits for in between are sent together.
    pipeline: true,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    keepAlive: true,
  })
  const pool = new pg.Pool({ ...settings(options.connection), max: options.maxConnections, statement_timeout: options.statementTimeoutMs })
  pool.on('error', (error) => options.onIdleError?.(error))
  let closed: Promise<void> | undefined

  return {
    connection: options.connection,
    ...queryable(pool),

    async transaction(work, transactionOptions = {}) {
      const client = await pool.connect().catch((error: unknown) => {
        throw translate(error)
      })
      let broken: Error | undefined
      // A connection may die between two statements: without a listener that would end the process.
      const onError = (error: Error) => {
        broken = error
      }
      client.on('error', onError)
      let committing = false
      try {
        const begun = run(client, { text: begin(transactionOptions), values: [] })
        if (transactionOptions.locksFirst)
          begun.catch(() => undefined) // heard with the first answers
        else await begun
        const result = await work(transactionOptions.locksFirst ? answeredAfter(begun, queryable(client)) : queryable(client))
        committing = true
        const { command } = await run(client, { text: 'COMMIT', values: [] })
        // The server answers so, and without an error, when a statement failed and `work` swallowed it.
        if (command !== 'COMMIT') throw new Error('the transaction was rolled back: a statement in it had failed')
        return result
      } catch (error) {
        if (committing && isConnectionLost(error)) {
          broken = error as Error
          throw new CommitOutcomeUnknown(error)
        }
        // A rollback that fails leaves a connection nobody may use again; the server rolls back by itself.
        if (!committing)
          await client.query('ROLLBACK').catch((rollback: unknown) => {
            broken = rollback as Error
          })
        if (isConnectionLost(error)) broken ??= error as Error
        throw error
      } finally {
        client.off('error', onError)
        client.release(broken)
      }
    },

    usage: () => ({ connections: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),

    async direct() {
      const client = new pg.Client(settings(options.directConnection ?? options.connection))
      client.on('error', () => undefined) // the next statement reports it
      await client.connect().catch((error: unknown) => {
        throw translate(error)
      })
      return { ...queryable(client), close: () => client.end() }
    },

    close: () => (closed ??= pool.end()),
  }
}
