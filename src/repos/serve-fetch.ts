import { oidBytes } from '../../protocol/oid.js'
import type { FetchPort } from '../../protocol/ports.js'
import type { Answers } from '../packs/answers.js'
import type { Snapshot } from '../packs/snapshot.js'
import type { Oid } from '../../protocol/types.js'

/** What a fetch of one repository stands on: a frozen view, and who may want what. */
export function createFetchPort(view: Snapshot, answers: Answers, caller: string): FetchPort {
  let named: Set<Oid> | undefined
  const isNamed = (oid: Oid): boolean => {
    named ??= new Set(view.refs.list.flatMap((ref) => (ref.peeled ? [ref.oid, ref.peeled] : [ref.oid])))
    return named.has(oid)
  }
  return {
    view,
    answer: answers.answerFor(caller),
    reaches: answers.reaches,
    deepen: answers.deepenFor(caller),
    cache: answers.cacheFor(view),
    onKept: answers.onKept,
    // Whatever a visible ref reaches lies in classes 0 and 1, and so does what was force-pushed away until gc:
    // no walk is needed, and a ref that moved between two requests does no harm.
    mayWant: (oid, entry) => entry !== -1 && (view.find(oidBytes(oid), 'credit') !== -1 || isNamed(oid)),
  }
}
