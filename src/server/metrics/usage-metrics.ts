import type { Config } from '../../config/config.js'
import type { Database } from '../../db/pool.js'
import type { Answers } from '../../packs/answers.js'
import type { Packs } from '../../packs/packs.js'
import type { Spool } from '../../packs/spool.js'
import type { PackWorkers } from '../../packs/workers/pool.js'
import type { Instruments } from './instruments.js'

export interface Used {
  readonly config: Pick<Config, 'cacheBytes' | 'spoolBytes' | 'ingestBytes' | 'tableBytes' | 'answerBytes' | 'answerDiskBytes' | 'workers'>
  readonly maxConnections: number
  readonly db: Pick<Database, 'usage'>
  readonly spool: Pick<Spool, 'usedBytes'>
  readonly packs: Pick<Packs, 'usage'>
  /** Undefined: packs lie in the store's own files. */
  readonly packCache: { readonly usedBytes: number } | undefined
  readonly answers: Pick<Answers, 'usage'>
  readonly workers: Pick<PackWorkers, 'load'>
  readonly purges: { readonly isListening: () => boolean }
}

/** How much of what is limited is in use, read when it is asked for. */
export function addUsage(
  { gauge, gauges }: Instruments,
  { config, maxConnections, db, spool, packs, packCache, answers, workers, purges }: Used,
): void {
  const room = (name: string, what: string, limitBytes: number, read: () => number): void => {
    gauge(`${name}_used_bytes`, `${what}: in use`, read)
    gauge(`${name}_limit_bytes`, `${what}: how much there may be`, () => limitBytes)
  }
  room('spool', 'Disk for packs that are being checked', config.spoolBytes, () => spool.usedBytes)
  room('pack_cache', 'Disk for packs fetched from the store', config.cacheBytes, () => packCache?.usedBytes ?? 0)
  room('ingest', 'Memory for checking packs', config.ingestBytes, () => packs.usage().ingestBytes)
  room('table', 'Memory for object tables, small packs and bitmaps', config.tableBytes, () => packs.usage().tableBytes)
  room('answer', 'Memory for answers that are kept', config.answerBytes, () => answers.usage().bytes)
  room('answer_disk', 'Disk for answers that were made for clones', config.answerDiskBytes, () => answers.usage().fileBytes)

  gauge('worker_threads_busy', 'Worker threads that have work', () => workers.load.busyThreads)
  gauge('worker_threads_limit', 'Worker threads there may be', () => config.workers)
  gauge('worker_jobs', 'Jobs in worker threads; beyond one a thread they share it', () => workers.load.jobs)
  gauges('turns_waiting', 'Work that waits because its repository or caller has all the threads it may', 'work', () => ({
    check: packs.usage().checksWaiting,
    build: answers.usage().waiting,
  }))

  gauge('database_connections', 'Open connections to the database', () => db.usage().connections)
  gauge('database_connections_idle', 'Those of them that nobody uses', () => db.usage().idle)
  gauge('database_connections_limit', 'How many there may be', () => maxConnections)
  gauge('purges_heard', 'Whether this hub hears at once of what other hubs purge', () => (purges.isListening() ? 1 : 0))
  gauge('database_waiting', 'Work that waits for a connection to the database', () => db.usage().waiting)
}
