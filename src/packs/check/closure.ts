import { ProtocolError } from '../../../protocol/errors.js'
import type { Slices, WorkOptions } from '../../../protocol/ports.js'
import type { RefName } from '../../../protocol/types.js'
import type { AnyPackRow } from '../../db/all-packs.js'
import type { RefRow } from '../../db/refs.js'
import { HubError } from '../../errors.js'
import { tipsByClass, type Classify } from '../collect/classify.js'
import type { Packs } from '../packs.js'
import type { Snapshot } from '../snapshot.js'
import type { UncachedOptions, UncachedSnapshot } from '../uncached-snapshot.js'

export interface ClosureDependencies {
  readonly packs: Pick<Packs, 'openUncached'>
  readonly classify: Classify
  readonly slices: (signal: AbortSignal) => Slices
  readonly visibilityClass: (name: RefName) => 0 | 1 | 2
}

/** Whether all is there that refs lead to. */
export interface Closure {
  /** Undefined: it is. Else the first that is missing or cannot be read, and a ref that leads to it. */
  readonly broken: { readonly says: string; readonly ref: string | undefined } | undefined
  /** Something that a ref leads to is only in packs that nothing relies on. */
  readonly leadsIntoGarbage: boolean
  /** The repository that was looked at. */
  readonly versions: { readonly refsVer: number; readonly packsVer: number }
  /** Packs out of use that were read as garbage. */
  readonly revived: readonly number[]
  readonly objects: number
  readonly unopened: UncachedSnapshot['unopened']
}

/** Follows all refs of a repository. @throws ProtocolError `cancelled`; HubError `repo-not-found`, `storage-full`, `unavailable` */
export async function followRefs(deps: ClosureDependencies, repoId: number, options: UncachedOptions, signal: AbortSignal): Promise<Closure> {
  const opened = await deps.packs.openUncached(repoId, options)
  const { snapshot, refs, rows, unopened } = opened
  try {
    const work = { slices: deps.slices(signal) }
    const garbage = [...snapshot.packs.keys()].filter((ordinal) => snapshot.packs[ordinal]!.class === 3)
    const { versions } = snapshot
    const known = new Set(snapshot.packs.map(({ id }) => id))
    const revived = rows.filter(({ id, state }) => state === 'retired' && known.has(id)).map(({ id }: AnyPackRow) => id)
    const common = { versions: { refsVer: versions.refsVer, packsVer: versions.packsVer }, revived, unopened }
    try {
      const { counts, reached } = await deps.classify(snapshot, { tips: tipsByClass(refs, deps.visibilityClass), garbage }, work)
      const objects = counts.slice(1).reduce((sum, count) => sum + count, 0)
      return { ...common, broken: undefined, objects, leadsIntoGarbage: garbage.some((ordinal) => reached[ordinal]) }
    } catch (error) {
      const says = saysCorrupt(error)
      if (says === undefined) throw error
      return { ...common, broken: { says, ref: await findBroken(deps, snapshot, refs, work) }, objects: 0, leadsIntoGarbage: false }
    }
  } finally {
    snapshot.release()
  }
}

/** Halves the refs until one is left: a walk each time, and the logarithm of them. */
async function findBroken(deps: ClosureDependencies, view: Snapshot, refs: readonly RefRow[], work: WorkOptions): Promise<string | undefined> {
  const fails = async (some: readonly RefRow[]): Promise<boolean> => {
    try {
      await deps.classify(view, { tips: tipsByClass(some, deps.visibilityClass), garbage: [] }, work)
      return false
    } catch (error) {
      if (saysCorrupt(error) === undefined) throw error
      return true
    }
  }
  let suspects = refs
  while (suspects.length > 1) {
    const half = suspects.slice(0, suspects.length >>> 1)
    suspects = (await fails(half)) ? half : suspects.slice(half.length)
  }
  return suspects[0]?.name.toString('utf8')
}

/** Words for what is missing or does not read back; undefined: it is another error. */
export function saysCorrupt(error: unknown): string | undefined {
  return (error instanceof ProtocolError || error instanceof HubError) && error.code === 'corrupt' ? error.message : undefined
}
