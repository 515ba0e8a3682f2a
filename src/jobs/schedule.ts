import type { JobLog } from './queue.js'

export interface Schedule {
  start(): void
  stop(): void
}

const minTurnMs = 1_000
/** The queue remembers that long, and a little longer, that a turn was taken. */
const maxTurnMs = 7 * 24 * 3_600_000

/**
 * Calls `due` for each name at once and then at every turn. A name's turn is `every` milliseconds long, and its place in time is the same
 * for all hubs; when in it a hub asks is its own. A hub that was asleep asks once, not for each turn it missed.
 * @throws RangeError for a turn under a second or over a week
 */
export function createSchedule(every: Readonly<Record<string, number>>, due: (name: string, turnMs: number) => Promise<void>, log: JobLog): Schedule {
  const timers = new Map<string, NodeJS.Timeout>()

  const tick = (name: string, turnMs: number): void => {
    timers.set(
      name,
      setTimeout(() => tick(name, turnMs), turnMs),
    )
    due(name, turnMs).catch((error: unknown) => log({ job: name, err: error }, 'a scheduled job was not put in the queue'))
  }

  for (const [name, turnMs] of Object.entries(every))
    if (!(turnMs >= minTurnMs && turnMs <= maxTurnMs)) throw new RangeError(`${name} every ${turnMs} ms is not between ${minTurnMs} and ${maxTurnMs}`)

  return {
    start() {
      for (const [name, turnMs] of Object.entries(every)) tick(name, turnMs)
    },
    stop() {
      for (const timer of timers.values()) clearTimeout(timer)
    },
  }
}
