import { isOid, oidBytes } from '../../protocol/oid.js'
import { objectTypes, type Oid, type RefName } from '../../protocol/types.js'
import type { PackView } from '../../protocol/ports.js'

/**
 * The commit that a revision names: `HEAD`, a branch, a tag, a full ref name or a full commit id, in this order.
 * Undefined: there is none, or it is no commit. A commit id must be reachable by a visible ref (classes 0 and 1).
 */
export function findRevision(view: PackView, revision: string): Oid | undefined {
  const name = Buffer.from(revision, 'utf8').toString('latin1')
  const { refs } = view
  const candidates = revision === 'HEAD' ? [refs.head] : [`refs/heads/${name}`, `refs/tags/${name}`, ...(name.startsWith('refs/') ? [name] : [])]
  for (const candidate of candidates) {
    const ref = refs.find(candidate as RefName)
    if (ref) return asCommit(view, ref.peeled ?? ref.oid)
  }
  const folded = revision.toLowerCase()
  return isOid(folded) ? asCommit(view, folded) : undefined
}

function asCommit(view: PackView, oid: Oid): Oid | undefined {
  const entry = view.find(oidBytes(oid), 'credit')
  return entry !== -1 && view.typeOf(entry) === objectTypes.commit ? oid : undefined
}
