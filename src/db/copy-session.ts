import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { translateError } from './database-errors.js'
import type { ConnectionOptions, DirectConnection } from './pool.js'
import { types } from './pg-types.js'
import type { Sql } from './sql.js'

export interface CopySessionOptions {
  readonly connection: ConnectionOptions
  /** The setting that says where it is, for messages. */
  readonly setting: string
  /** What the server ends when it has not heard of this session for so long: its locks go with it. At least 3 s. */
  readonly silenceMs: number
  readonly connectTimeoutMs?: number
}

/**
 * A connection outside the pool, for long work in one transaction: statements may take their time, rows go by COPY. While it is open it says
 * again and again that it is alive; once it does not, because process or machine have died, the server ends it.
 */
export interface CopySession extends DirectConnection {
  /** Aborted when the connection is gone, with the reason. */
  readonly lost: AbortSignal
}

class Session implements CopySession {
  readonly #client: pg.Client
  readonly #setting: string
  readonly #lost = new AbortController()
  readonly #beat: NodeJS.Timeout
  /** One statement at a time: COPY has the connection for itself. */
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(client: pg.Client, { setting, silenceMs }: CopySessionOptions) {
    this.#client = client
    this.#setting = setting
    const lose = (error: unknown) => this.#lost.abort(translateError(error, setting))
    client.on('error', lose)
    client.on('end', () => lose(new Error('Connection terminated')))
    this.#beat = setInterval(() => {
      if (this.#waiting === 0) this.#alone(() => this.#client.query('SELECT')).catch(() => undefined) // `lost` says it
    }, silenceMs / 3)
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async query<R extends object>(statement: Sql): Promise<R[]> {
    return (await this.#run(statement)).rows as R[]
  }

  async execute(statement: Sql): Promise<number> {
    return (await this.#run(statement)).rowCount ?? 0
  }

  async close(): Promise<void> {
    clearInterval(this.#beat)
    await this.#client.end().catch(() => undefined)
  }

  #run({ text, values }: Sql): Promise<pg.QueryResult> {
    return this.#alone(() => this.#client.query({ text, values: [...values] }))
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++
    const before = this.#last
    const mine = (async () => {
      await before.catch(() => undefined)
      try {
        return await work()
      } catch (error) {
        throw translateError(error, this.#setting)
      } finally {
        this.#waiting--
      }
    })()
    this.#last = mine
    return mine
  }

  /** The rows of one statement here, as rows of another there; how many they were. */
  static copy(from: Session, out: string, to: Session, into: string, signal: AbortSignal): Promise<number> {
    return from.#alone(() =>
      to.#alone(async () => {
        const rows = to.#client.query(copyFrom(into))
        await pipeline(from.#client.query(copyTo(out)), rows, { signal })
        return rows.rowCount
      }),
    )
  }
}

/** @throws HubError `unavailable` */
export async function openCopySession(options: CopySessionOptions): Promise<CopySession> {
  const { connection, setting, silenceMs, connectTimeoutMs = 10_000 } = options
  const client = new pg.Client({
    ...(connection as pg.ClientConfig),
    types,
    application_name: 'cairn migrate-store',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    for (const [name, value] of Object.entries(sessionSettings(silenceMs))) await client.query(`SET ${name} = '${value}'`)
  } catch (error) {
    await client.end().catch(() => undefined)
    throw translateError(error, setting)
  }
  return new Session(client, options)
}

const sessionSettings = (silenceMs: number): Readonly<Record<string, string | number>> => ({
  statement_timeout: 0,
  lock_timeout: 0,
  idle_in_transaction_session_timeout: silenceMs,
  idle_session_timeout: silenceMs,
  // For a machine that is gone while the server sends to it, or waits for it.
  tcp_user_timeout: silenceMs,
  tcp_keepalives_idle: Math.ceil(silenceMs / 3000),
  tcp_keepalives_interval: Math.ceil(silenceMs / 3000),
  tcp_keepalives_count: 2,
  // Both sides print a row in the same words.
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: 1,
})

/**
 * `COPY … TO STDOUT` here into `COPY … FROM STDIN` there, in bounded memory. Comes back with the number of rows.
 * @throws the signal's reason; what either side complains about
 */
export function copyRows(from: CopySession, out: string, to: CopySession, into: string, signal: AbortSignal): Promise<number> {
  return Session.copy(from as Session, out, to as Session, into, signal)
}
