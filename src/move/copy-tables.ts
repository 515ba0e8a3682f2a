import { setTimeout as delay } from 'node:timers/promises'
import { copyRows, type CopySession } from '../db/copy-session.js'
import { beginLocked, copyInto, copyOutOf, emptyTables, readSequence, setSequence, sumTable, type HubTable } from '../db/hub-tables.js'
import { isDeadlock, isLockTimeout } from '../db/pool.js'
import { sql } from '../db/sql.js'
import { HubError } from '../errors.js'

/** Longer than the server takes to notice a deadlock, and to send its own housekeeping away. */
const lockTryMs = 3_000
const lockRestMs = 500
/** A statement of a hub may take a minute, and so may a transaction in which nothing happens. */
const lockPatienceMs = 5 * 60_000

/**
 * Begins a transaction that sees all that was committed, and in which nobody else changes a row. Whoever is in the middle of changing some is
 * waited for.
 * @throws HubError `busy` after five minutes; the signal's reason
 */
export async function beginFenced(session: CopySession, tables: readonly HubTable[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + lockPatienceMs
  for (;;) {
    signal.throwIfAborted()
    try {
      return await beginLocked(session, tables, lockTryMs)
    } catch (error) {
      if (!isLockTimeout(error) && !isDeadlock(error)) throw error
      if (performance.now() > deadline)
        throw new HubError('busy', 'somebody has been changing the hub for five minutes and does not end', { cause: error })
    }
    await session.execute(sql`ROLLBACK`)
    await delay(lockRestMs, undefined, { signal })
  }
}

/**
 * All rows of all tables from one transaction into another, in place of what is there; then both are summed up and compared. How many rows they are.
 * @throws HubError `corrupt` when a table is not the same at both sides
 */
export async function copyTables(from: CopySession, to: CopySession, tables: readonly HubTable[], signal: AbortSignal): Promise<number> {
  await emptyTables(to, tables)
  let rows = 0
  for (const table of tables) {
    await copyRows(from, copyOutOf(table), to, copyInto(table), signal)
    for (const sequence of table.sequences) await setSequence(to, sequence, await readSequence(from, sequence))
  }
  for (const table of tables) {
    const [there, here] = await Promise.all([sumTable(from, table), sumTable(to, table)])
    if (there.rows !== here.rows || there.sum !== here.sum) {
      throw new HubError(
        'corrupt',
        `the table ${table.name} has ${there.rows} rows, sum ${there.sum}, and came over as ${here.rows} rows, sum ${here.sum}`,
      )
    }
    rows += here.rows
  }
  return rows
}
