import { PgBoss } from 'pg-boss'
import type { ConnectionOptions } from '../db/pool.js'

/** What a part of the hub may say: fields and a short phrase. */
export type JobLog = (fields: object, phrase: string) => void

/** How soon things are noticed. The shorter, the more is asked of an idle database. */
export interface JobTimings {
  /** How often a hub looks for work that another left. What it put in the queue itself it looks for at once. */
  readonly pollMs: number
  /** How often a hub looks for jobs whose hub is gone. */
  readonly superviseMs: number
  /** A job whose hub has not been heard of for that long is given to another. At least 10 s. */
  readonly lostAfterMs: number
  /** How long a job that failed, or whose hub was lost, rests before it is tried again; doubled each time, up to an hour. */
  readonly retryMs: number
}

export const defaultTimings: JobTimings = { pollMs: 30_000, superviseMs: 30_000, lostAfterMs: 20_000, retryMs: 5_000 }

/** Tries of a job beyond the first. Its next turn comes anyway. */
const retryLimit = 5
const maxRetrySeconds = 3_600
/** The longest that the library allows. A job that takes longer is told to stop. */
const maxRunSeconds = 23 * 3_600
/** How long what is done stays in the table, for who wants to look; longer than any turn, whose row keeps others from taking it again. */
const keepSeconds = 8 * 24 * 3_600
/** Of chores that concern parts of the library that are not used here. */
const rarelySeconds = 3_600
/** Held while there is something to say; given back after ten quiet seconds. */
const maxConnections = 2

/** A statement of the library that takes longer has met something else than work. */
const statementTimeoutMs = 5 * 60_000
/** What its pool hands on to `pg`, so that a server that falls silent does not hold the jobs for ever. */
const limits = {
  statement_timeout: statementTimeoutMs,
  idle_in_transaction_session_timeout: statementTimeoutMs,
  query_timeout: statementTimeoutMs + 10_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 60_000,
}

export interface Queue {
  /** Makes the tables of the library, in a schema of its own, and the queues. */
  open(names: readonly string[]): Promise<void>
  /**
   * One job of that name, unless one waits or runs already. With `turnMs` also unless there was one in this turn: time is cut into
   * turns of that length, by the database's clock, so of many hubs that ask one has its way.
   * False: there is one.
   */
  add(name: string, turnMs?: number): Promise<boolean>
  /** Takes jobs of that name one at a time, until the queue is closed. What `run` throws is tried again later. */
  work(name: string, run: (signal: AbortSignal) => Promise<void>): Promise<Worker>
  /** Takes no new job, and waits that long for those that run; those that do not end count as failed. */
  close(withinMs: number): Promise<void>
}

export interface Worker {
  /** Looks for work now. */
  wake(): void
}

const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000))

/** A queue in the database, by pg-boss. At most one job of a name waits or runs, in all hubs together. */
export function createQueue(connection: ConnectionOptions, log: JobLog, timings: JobTimings): Queue {
  const boss = new PgBoss({
    ...connection,
    ...limits,
    application_name: 'cairn jobs',
    max: maxConnections,
    schedule: false,
    registerInstance: false,
    monitorVacuum: false,
    superviseIntervalSeconds: seconds(timings.superviseMs),
    monitorIntervalSeconds: seconds(timings.superviseMs),
    queueCacheIntervalSeconds: rarelySeconds,
    bamIntervalSeconds: rarelySeconds,
    flowIntervalSeconds: rarelySeconds,
  })
  boss.on('error', (error) => log({ err: error }, 'the job queue failed'))
  boss.on('warning', (warning) => log({ warning }, 'the job queue warned'))

  return {
    async open(names) {
      await boss.start()
      const settings = {
        retryLimit,
        retryDelay: seconds(timings.retryMs),
        retryBackoff: true,
        retryDelayMax: maxRetrySeconds,
        heartbeatSeconds: seconds(timings.lostAfterMs),
        expireInSeconds: maxRunSeconds,
        retentionSeconds: keepSeconds,
        deleteAfterSeconds: keepSeconds,
      }
      for (const name of names) {
        await boss.createQueue(name, { policy: 'exclusive', ...settings })
        // An older hub may have made it with other settings.
        await boss.updateQueue(name, settings)
      }
    },
    async add(name, turnMs) {
      return (await boss.send(name, null, turnMs === undefined ? {} : { singletonSeconds: seconds(turnMs) })) !== null
    },
    async work(name, run) {
      const options = { batchSize: 1, localConcurrency: 1, pollingIntervalSeconds: Math.max(0.5, timings.pollMs / 1000) }
      const id = await boss.work(name, options, async ([job]) => {
        if (job !== undefined) await run(job.signal)
      })
      return { wake: () => boss.notifyWorker(id) }
    },
    close: (withinMs) => boss.stop({ graceful: true, timeout: withinMs, close: true }),
  }
}
