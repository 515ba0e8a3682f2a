import type { JobLog, Queue, Worker } from './queue.js'

/** One run of a task. It ends soon after the signal says so: the hub stops, or another hub has taken the job over. */
export type Task = (signal: AbortSignal) => Promise<void>

export interface Runner {
  /** Begins to take jobs. */
  start(): Promise<void>
  /** Looks for a job of that name now. */
  wake(name: string): void
  /** Tells what runs to stop. */
  stop(): void
}

/**
 * Runs the tasks whose jobs are in the queue, of each name one at a time. A task that fails is logged, and its job is tried again; so is
 * the job of a hub that was lost, which means that a task may begin anew after it did half its work, or all of it.
 */
export function createRunner(queue: Queue, tasks: Readonly<Record<string, Task>>, log: JobLog): Runner {
  const stopping = new AbortController()
  const workers = new Map<string, Worker>()

  const run = async (name: string, task: Task, lost: AbortSignal): Promise<void> => {
    const started = performance.now()
    const ms = () => Math.round(performance.now() - started)
    try {
      // A job taken at the last moment: it fails, and waits for a hub that has time.
      stopping.signal.throwIfAborted()
      await task(AbortSignal.any([stopping.signal, lost]))
      log({ job: name, ms: ms() }, 'job done')
    } catch (error) {
      if (stopping.signal.aborted) log({ job: name, ms: ms() }, 'job stopped with the hub')
      else log({ job: name, ms: ms(), err: error }, lost.aborted ? 'job stopped: it was given to another hub' : 'job failed')
      throw error
    }
  }

  return {
    async start() {
      for (const [name, task] of Object.entries(tasks)) workers.set(name, await queue.work(name, (lost) => run(name, task, lost)))
    },
    wake: (name) => workers.get(name)?.wake(),
    stop: () => stopping.abort(new Error('the hub stops')),
  }
}
