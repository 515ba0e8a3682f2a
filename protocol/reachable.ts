import { EntryMarks } from './entry-marks.js'
import { History } from './history.js'
import type { Entry, Reaches, WorkOptions } from './ports.js'
import { objectTypes, type Oid } from './types.js'

const have = 1
const seen = 2
const reaching = 4

interface Step {
  readonly entry: Entry
  readonly parents: readonly Entry[]
  next: number
}

/**
 * True when every want is a have or has a path to one. What is no commit and names none cannot be told by ancestry and does not stand
 * against it. Commits made before the oldest have are not looked at: a wrong clock makes it say no where yes is true, which costs the
 * client a round, never the other way about.
 */
export const reaches: Reaches = async (view, wants, haves, { slices }: WorkOptions) => {
  const history = new History(view, slices)
  const marks = new EntryMarks(view)
  let oldest = Number.POSITIVE_INFINITY
  let any = false
  for (const oid of haves) {
    const entry = await commitOf(history, oid)
    if (entry === -1) continue
    any = true
    marks.add(entry, have)
    oldest = Math.min(oldest, (await history.commit(entry)).seconds)
  }
  if (!any) return false
  for (const oid of wants) {
    const entry = await commitOf(history, oid)
    if (entry !== -1 && !(await pathToHave(history, marks, entry, oldest))) return false
  }
  return true
}

/** Depth first, each commit once for all wants together; the path that ends well is remembered. */
async function pathToHave(history: History, marks: EntryMarks, start: Entry, oldest: number): Promise<boolean> {
  const path: Step[] = []
  for (let entry: Entry | undefined = start; ; ) {
    const pause = history.slices.pause()
    if (pause) await pause
    if (entry !== undefined) {
      const bits = marks.get(entry)
      if (bits & (have | reaching)) {
        for (const step of path) marks.add(step.entry, reaching)
        return true
      }
      if (!(bits & seen)) {
        marks.add(entry, seen)
        const { parents, seconds } = await history.commit(entry)
        if (seconds >= oldest) path.push({ entry, parents, next: 0 })
      }
    }
    const top = path.at(-1)
    if (!top) return false
    entry = top.parents[top.next++]
    if (entry === undefined) path.pop()
  }
}

/** The commit an object is or finally names; -1: it is none, or not here. */
async function commitOf(history: History, oid: Oid): Promise<Entry> {
  const found = history.find(oid)
  const entry = found === -1 ? -1 : await history.peel(found)
  return entry !== -1 && history.view.typeOf(entry) === objectTypes.commit ? entry : -1
}
