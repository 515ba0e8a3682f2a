import { humanLine } from './human-text.js'
import { dataPkt } from './pkt-line.js'
import type { RefTable } from './ports.js'
import { RefusedRequest } from './refused-request.js'
import type { Oid, RefName } from './types.js'

/** A ref that was wanted by its name, and where it stands now. */
export interface WantedRef {
  readonly name: RefName
  readonly oid: Oid
}

/** @throws RefusedRequest in git's own words: a ref that is gone since it was listed ends the fetch */
export function findWantedRefs(refs: RefTable, names: readonly RefName[]): readonly WantedRef[] {
  return names.map((name) => {
    const ref = refs.find(name === 'HEAD' ? refs.head : name)
    if (!ref) throw new RefusedRequest(`unknown ref ${humanLine(name)}`)
    return { name, oid: ref.oid }
  })
}

/** Yields the lines of the wanted-refs section, its end left open. Spec: gitprotocol-v2(5), "fetch". */
export function* wantedRefs(wanted: readonly WantedRef[]): Generator<Buffer> {
  yield dataPkt('wanted-refs\n')
  for (const { name, oid } of wanted) yield dataPkt(`${oid} ${name}\n`)
}
