import { oidFromBytes } from '../../protocol/oid.js'
import type { Ref, RefName } from '../../protocol/types.js'
import type { Transaction } from '../db/pool.js'
import { findRefLogEnd, listRefLogFrom, type RefLogEnd, type RefStepRow } from '../db/ref-log.js'
import { listRefs } from '../db/refs.js'
import { isHiddenRef, RefList, toRef } from './ref-list.js'

/** Refs of one moment of the database, with what brings them forward. */
export interface KnownRefs {
  readonly list: RefList
  readonly refsVer: number
  /** Where the log ended then. Undefined: nothing had been logged. */
  readonly logEnd: RefLogEnd | undefined
}

/** The repository's row as the same transaction sees it. */
export interface RefsRow {
  readonly refsVer: number
  readonly headRef: Buffer
}

/** With more steps since, all refs are read. */
const maxSteps = 2_000

/**
 * The refs as the transaction sees them: what is known, brought forward by the log of refs, or read whole. Every update writes the log
 * under the repository's lock and raises `refs_ver` by one. So the log is believed only when it still has the line that was its last, of
 * the same update, has just as many updates since as the version has risen, and each began where the one before had ended: a log that was
 * trimmed, a database that was put back, and rows that were changed by hand are found out.
 *
 * `tx` is REPEATABLE READ: all of it is of one moment.
 */
export async function readRefs(tx: Transaction, repoId: number, row: RefsRow, known: KnownRefs | undefined): Promise<KnownRefs> {
  const brought = known?.logEnd && (await bringForward(tx, repoId, row, known, known.logEnd))
  if (brought) return brought
  const [logEnd, rows] = await Promise.all([findRefLogEnd(tx, repoId), listRefs(tx, repoId)])
  return { list: RefList.of(row.headRef, rows), refsVer: row.refsVer, logEnd }
}

async function bringForward(
  tx: Transaction,
  repoId: number,
  { refsVer, headRef }: RefsRow,
  { list, refsVer: knownVer }: KnownRefs,
  knownEnd: RefLogEnd,
): Promise<KnownRefs | undefined> {
  if (refsVer < knownVer || refsVer - knownVer > maxSteps) return undefined
  const [first, ...steps] = await listRefLogFrom(tx, repoId, knownEnd.id, maxSteps + 2)
  if (first?.id !== knownEnd.id || first.updateId !== knownEnd.updateId || steps.length > maxSteps) return undefined
  if (new Set(steps.map(({ updateId }) => updateId)).size !== refsVer - knownVer) return undefined
  const changes = changesOf(list, steps)
  const { id, updateId } = steps.at(-1) ?? first
  return changes && { list: list.with(headRef, changes), refsVer, logEnd: { id, updateId } }
}

/** What the steps come to; undefined: they do not begin where the list ends. */
function changesOf(list: RefList, steps: readonly RefStepRow[]): Map<RefName, Ref | undefined> | undefined {
  const changes = new Map<RefName, Ref | undefined>()
  for (const { name: bytes, oldOid, newOid, newPeeled } of steps) {
    const name = bytes.toString('latin1') as RefName
    if (isHiddenRef(name)) continue
    const before = changes.has(name) ? changes.get(name) : list.find(name)
    if (before?.oid !== (oldOid ? oidFromBytes(oldOid) : undefined)) return undefined
    changes.set(name, newOid ? toRef({ name: bytes, oid: newOid, peeled: newPeeled }) : undefined)
  }
  return changes
}
