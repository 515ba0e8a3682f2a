import { ProtocolError } from '../../../protocol/errors.js'
import { isPackInUse, reviveAsGarbage, type AnyPackRow } from '../../db/all-packs.js'
import { retireGarbage } from '../../db/packs.js'
import { HubError } from '../../errors.js'
import { hasNamedBytes } from '../../kept/compare.js'
import type { BlobStore } from '../../storage/blob-store.js'
import { packKey } from '../../storage/keys.js'
import type { CollectPacks } from '../collect/collect.js'
import { replacePacks, type ReplaceDependencies } from '../collect/replace-packs.js'
import type { Closure } from './closure.js'

/** `uncollected`: why what refs lead to is still in garbage packs. All of it can be read, and a later collection tries again. */
export type SetAside = { readonly outcome: 'changed' } | { readonly outcome: 'done'; readonly uncollected: string | undefined }

export interface SetAsideDependencies extends ReplaceDependencies {
  readonly store: BlobStore
  readonly collectPacks: CollectPacks
}

/**
 * Takes packs that are lost out of use, when all that refs lead to is there without them: in packs that are live, or garbage, or were out of use and
 * then become garbage, which is read and never relied on. A collection then writes what refs lead to anew. `changed`: the repository is not as it was any more, and nothing
 * was done.
 * @throws HubError `conflict` when bytes that were to be had back have gone; ProtocolError `cancelled`
 */
export async function setAside(
  deps: SetAsideDependencies,
  repoId: number,
  lost: readonly AnyPackRow[],
  { versions, revived, leadsIntoGarbage }: Closure,
  signal: AbortSignal,
): Promise<SetAside> {
  const idsIn = (state: AnyPackRow['state']): number[] => lost.filter((row) => row.state === state).map(({ id }) => id)
  const outcome = await replacePacks(deps, {
    repoId,
    retired: idsIn('live'),
    added: [],
    expected: versions,
    epochChanged: true,
    also: async (tx) => {
      const changedVer = versions.packsVer + 1
      await retireGarbage(tx, repoId, idsIn('garbage'), changedVer)
      if ((await reviveAsGarbage(tx, repoId, revived, changedVer)) !== revived.length)
        throw new HubError('conflict', `packs of repository ${repoId} that were out of use have gone meanwhile`)
    },
  })
  if (outcome !== 'replaced') return { outcome: 'changed' }
  for (const row of lost) await removeWrongBytes(deps, row, signal)
  return { outcome: 'done', uncollected: leadsIntoGarbage ? await collect(deps, repoId, signal) : undefined }
}

/** Undefined: done; else why not. */
async function collect({ collectPacks }: SetAsideDependencies, repoId: number, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { outcome } = await collectPacks(repoId, { signal })
    return outcome === 'moved-on' ? 'there were pushes all the time' : undefined
  } catch (error) {
    if (signal.aborted || !(error instanceof HubError || error instanceof ProtocolError)) throw error
    return error.message
  }
}

/** What is written anew may be the very same pack, and a store keeps the bytes that are there. */
async function removeWrongBytes({ db, store }: SetAsideDependencies, { sha256, tblSha256 }: AnyPackRow, signal: AbortSignal): Promise<void> {
  const key = packKey(sha256)
  if (!tblSha256 || !(await store.stat(key)) || (await isPackInUse(db, sha256))) return
  if (!(await hasNamedBytes(store, key, { signal }))) await store.delete(key)
}
