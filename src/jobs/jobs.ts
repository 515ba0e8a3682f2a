import type { ConnectionOptions } from '../db/pool.js'
import { createQueue, defaultTimings, type JobLog, type JobTimings } from './queue.js'
import { createRunner, type Task } from './runner.js'
import { createSchedule } from './schedule.js'

export interface JobsOptions<Name extends string> {
  readonly connection: ConnectionOptions
  readonly tasks: Readonly<Record<Name, Task>>
  /** How often a task runs by itself, in milliseconds: whole seconds, a week at most. In all hubs together once in that time. */
  readonly schedule: Readonly<Partial<Record<Name, number>>>
  readonly log: JobLog
  readonly timings?: Partial<JobTimings>
}

export interface Jobs<Name extends string> {
  /** @throws Error when the database cannot be asked */
  start(): Promise<void>
  /** Has a task run soon, here or in another hub. False: it waits or runs already. */
  enqueue(name: Name): Promise<boolean>
  /**
   * Tells tasks that run to stop, and waits for them, at most `withinMs`. What was stopped is tried again later by whoever is there.
   * Before the pool and the database are closed.
   */
  close(withinMs?: number): Promise<void>
}

const closeMs = 10_000

/**
 * Work that nobody waits for. Each task is one that may be begun again at any time: what keeps its effects right is its transactions,
 * never that it runs alone.
 */
export function createJobs<Name extends string>({ connection, tasks, schedule, log, timings }: JobsOptions<Name>): Jobs<Name> {
  const queue = createQueue(connection, log, { ...defaultTimings, ...timings })
  const runner = createRunner(queue, tasks, log)
  const enqueue = async (name: string, turnMs?: number): Promise<boolean> => {
    const added = await queue.add(name, turnMs)
    if (added) runner.wake(name)
    return added
  }
  const clock = createSchedule(schedule as Readonly<Record<string, number>>, async (name, turnMs) => void (await enqueue(name, turnMs)), log)
  let closed: Promise<void> | undefined

  return {
    async start() {
      await queue.open(Object.keys(tasks))
      await runner.start()
      clock.start()
    },
    enqueue: (name) => enqueue(name),
    close(withinMs = closeMs) {
      clock.stop()
      runner.stop()
      return (closed ??= queue.close(withinMs))
    },
  }
}
