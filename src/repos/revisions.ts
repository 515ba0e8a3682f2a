import { isOid, oidBytes } from '../../protocol/oid.js'
import { wireLimits } from '../../protocol/limits.js'
import { objectTypes, type Oid, type RefName } from '../../protocol/types.js'
import type { PackView } from '../../protocol/ports.js'
import type { Snapshot } from '../packs/snapshot.js'

export interface Revision {
  readonly commit: Oid
  /** It was named by its full id: the same address means the same commit for ever. */
  readonly isFixed: boolean
}

/** What revisions are looked for in. */
export type RevisionView = PackView & Pick<Snapshot, 'commitsFrom'>

/** Fewer digits are taken for a name alone. */
const shortOid = /^[0-9a-f]{7,39}$/

/**
 * The commit that a revision names: `HEAD`, a branch, a tag, a full ref name, a full commit id or the beginning of one, in this order.
 * Undefined: there is none, it is no commit, or more than one id begins so. A commit id must be reachable by a visible ref (classes 0 and 1).
 */
export function findRevision(view: RevisionView, revision: string): Revision | undefined {
  if (revision === '' || Buffer.byteLength(revision) > wireLimits.refNameBytes) return undefined
  const name = Buffer.from(revision, 'utf8').toString('latin1')
  const { refs } = view
  const candidates = revision === 'HEAD' ? [refs.head] : [`refs/heads/${name}`, `refs/tags/${name}`, ...(name.startsWith('refs/') ? [name] : [])]
  for (const candidate of candidates) {
    const ref = refs.find(candidate as RefName)
    if (ref) return asCommit(view, ref.peeled ?? ref.oid, false)
  }
  const folded = revision.toLowerCase()
  if (isOid(folded)) return asCommit(view, folded, true)
  if (!shortOid.test(folded)) return undefined
  const [commit, another] = view.commitsFrom(folded)
  return commit === undefined || another !== undefined ? undefined : { commit, isFixed: false }
}

function asCommit(view: PackView, oid: Oid, isFixed: boolean): Revision | undefined {
  const entry = view.find(oidBytes(oid), 'credit')
  return entry !== -1 && view.typeOf(entry) === objectTypes.commit ? { commit: oid, isFixed } : undefined
}

/** A revision and a path, as an address has them one behind the other. */
export interface FileAddress {
  /** Decoded, in order, at least one. An encoded slash is still in its segment. */
  readonly segments: readonly string[]
  /** The first segment is the whole revision: it was written with its slashes encoded. */
  readonly isFirstRevision: boolean
}

export interface AddressedFile extends Revision {
  /** Empty: the address ends with the revision. */
  readonly path: string
}

/**
 * Where the revision ends and the path begins. Branch names may have slashes: the longest name that there is wins. Undefined: none is.
 */
export function splitAddress(view: RevisionView, { segments, isFirstRevision }: FileAddress): AddressedFile | undefined {
  for (const count of lengthsToTry(segments, isFirstRevision)) {
    const revision = findRevision(view, segments.slice(0, count).join('/'))
    if (revision) return { ...revision, path: segments.slice(count).join('/') }
  }
  return undefined
}

/** How many segments the revision may have, most likely to be meant first: a path behind it is never empty while there is another reading. */
function lengthsToTry(segments: readonly string[], isFirstRevision: boolean): number[] {
  if (isFirstRevision) return [1]
  let bytes = 0
  const lengths: number[] = []
  for (const segment of segments.slice(0, -1)) {
    bytes += Buffer.byteLength(segment) + 1
    if (bytes > wireLimits.refNameBytes + 1) break
    lengths.unshift(lengths.length + 1)
  }
  return [...lengths, segments.length]
}
