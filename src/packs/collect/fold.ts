import { randomUUID } from 'node:crypto'
import type { Slices } from '../../../protocol/ports.js'
import type { Packs } from '../packs.js'
import type { Snapshot } from '../snapshot.js'
import { foldLimits, planFold, type FoldLimits } from './plan-fold.js'
import type { Repack } from './repack-here.js'
import { replacePacks, type ReplaceDependencies } from './replace-packs.js'

export interface FoldDependencies extends ReplaceDependencies {
  readonly packs: Pick<Packs, 'openSnapshot' | 'stage'>
  readonly repack: Repack
  readonly slices: (signal: AbortSignal) => Slices
  /** A pack that is made may have so many bytes. */
  readonly maxPackBytes: number
  readonly limits?: Partial<FoldLimits>
}

/** What a fold came to. */
export interface Folded {
  /** Packs that are one now. */
  readonly packs: number
  readonly objects: number
  readonly bytes: number
}

/** Makes a few large packs of the many small ones of a repository. What it held it holds, each object once in what was folded. */
export type Fold = (repoId: number, signal: AbortSignal) => Promise<readonly Folded[]>

/**
 * Packs are folded within their visibility class. The new one is checked as a push is, against the repository: every object is read and named anew
 * before anything stands on it.
 * @throws ProtocolError `corrupt` when an object cannot be read, `cancelled`; HubError `repo-not-found`, `storage-full`, `unavailable`
 */
export function createFold(deps: FoldDependencies): Fold {
  const limits: FoldLimits = { ...foldLimits, maxBytes: deps.maxPackBytes, ...deps.limits }
  return async (repoId, signal) => {
    const folded: Folded[] = []
    for (const visibility of [0, 1] as const) {
      const one = await foldClass(deps, limits, repoId, visibility, signal)
      if (one) folded.push(one)
    }
    return folded
  }
}

async function foldClass(
  deps: FoldDependencies,
  limits: FoldLimits,
  repoId: number,
  visibility: 0 | 1,
  signal: AbortSignal,
): Promise<Folded | undefined> {
  const view = await deps.packs.openSnapshot(repoId)
  try {
    const { ordinals, ids } = chosenOf(view, visibility, limits)
    if (ids.length === 0) return undefined
    const slices = deps.slices(signal)
    const staged = await deps.packs.stage(deps.repack(view.only(ordinals), undefined, { slices }), {
      updateId: randomUUID(),
      newOids: [],
      source: 'fold',
      slices,
      signal,
      turnKeys: ['folding'],
      open: () => deps.packs.openSnapshot(repoId),
    })
    try {
      await staged.publish()
      const outcome = await replacePacks(deps, { repoId, retired: ids, added: [{ staged, visibility }], gcEpoch: staged.basis.gcEpoch })
      return outcome === 'replaced' ? { packs: ids.length, objects: staged.objects, bytes: staged.pack?.bytes ?? 0 } : undefined
    } finally {
      await staged.dispose()
    }
  } finally {
    view.release()
  }
}

function chosenOf(view: Snapshot, visibility: 0 | 1, limits: FoldLimits): { readonly ordinals: readonly number[]; readonly ids: readonly number[] } {
  const foldable = view.packs
    .filter((pack) => pack.class === visibility)
    .map(({ id, objects, bytes, where }) => ({ id, objects, bytes, inline: where === 'inline' }))
  const ids = planFold(foldable, limits)
  const chosen = new Set(ids)
  return { ids, ordinals: [...view.packs.keys()].filter((ordinal) => chosen.has(view.packs[ordinal]!.id)) }
}
