import { setTimeout as delay } from 'node:timers/promises'
import { readSwitch, type MoveRow } from '../db/hub-move.js'
import { isLockTimeout, type Database } from '../db/pool.js'
import { HubError } from '../errors.js'

/** What a part of the hub may say: fields and a short phrase. */
export type MoveLog = (fields: object, phrase: string) => void

/**
 * Whether this hub may change anything. It spares clients and connections the wait at the locks of a move, and tells them what goes on; what keeps
 * changes from being lost are those locks, and the seal of what was moved.
 */
export interface MoveGate {
  /** What to refuse a change with, while none may be made. */
  readOnly(): HubError | undefined
  /** The same database, whose transactions do not wait long for locks that a move has. */
  guard(db: Database): Database
  /** The same tasks, which do nothing while nothing may be changed; their next turn comes. */
  guardTasks<Name extends string>(tasks: Readonly<Record<Name, GuardedTask>>): Readonly<Record<Name, GuardedTask>>
  close(): Promise<void>
}

type GuardedTask = (signal: AbortSignal) => Promise<void>

export interface MoveGateOptions {
  readonly db: Database
  readonly log: MoveLog
  readonly pollMs?: number
}

/** How often a hub asks. A move waits for longer before it locks anything. */
export const gatePollMs = 2_000
/** How long somebody waits at a lock who is still changing something after that. */
const lateLockMs = 1_000

/** @throws HubError `config` when the data of this database is elsewhere, or not all of it is here */
export async function openGate({ db, log, pollMs = gatePollMs }: MoveGateOptions): Promise<MoveGate> {
  const first = await readSwitch(db)
  if (first.move) throw new HubError('config', whyNotHere(first.move))
  let refusal = refusalOf(first)
  const ended = new AbortController()
  const look = async () => {
    const before = refusal?.message
    refusal = refusalOf(await readSwitch(db))
    if (refusal?.message !== before) log({}, refusal ? `changes are refused: ${refusal.message}` : 'changes are taken again')
  }
  const watching = (async () => {
    for (;;) {
      await delay(pollMs, undefined, { signal: ended.signal, ref: false })
      await look().catch(() => undefined) // the database is away: nothing can be changed anyway
    }
  })().catch(() => undefined)

  return {
    readOnly: () => refusal,
    guard: (inner) => ({
      ...inner,
      async transaction(work, options = {}) {
        if (!refusal || options.readOnly === true) return inner.transaction(work, options)
        const lockTimeoutMs = Math.min(options.lockTimeoutMs ?? lateLockMs, lateLockMs)
        try {
          return await inner.transaction(work, { ...options, lockTimeoutMs })
        } catch (error) {
          throw refusal && isLockTimeout(error) ? refusal : error
        }
      },
    }),
    guardTasks: <Name extends string>(tasks: Readonly<Record<Name, GuardedTask>>) =>
      Object.fromEntries(
        Object.entries<GuardedTask>(tasks).map(([name, task]) => [name, async (signal: AbortSignal) => (refusal ? undefined : task(signal))]),
      ) as Record<Name, GuardedTask>,
    async close() {
      ended.abort()
      await watching
    },
  }
}

function refusalOf({ switching, move }: { readonly switching: boolean; readonly move: MoveRow | undefined }): HubError | undefined {
  if (move) return new HubError('read-only', 'this hub was moved, and nothing is changed here any more')
  return switching ? new HubError('read-only', 'the hub is being moved, try again in a few minutes') : undefined
}

const whyNotHere = ({ state, otherPlace, at }: MoveRow): string =>
  state === 'moved'
    ? `the data of this hub was moved to ${otherPlace} (${at.toISOString()}): start it with the settings of that place. What has not been used there can be taken back by cairn migrate-store --undo`
    : `the data that comes from ${otherPlace} is not all here: run the same cairn migrate-store --to … again, which goes on where it was`
