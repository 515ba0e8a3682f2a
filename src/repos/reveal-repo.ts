import { isUniqueViolation } from '../db/pool.js'
import type { RepoPath, RepoState, Versions } from '../db/versions.js'
import { HubError } from '../errors.js'
import { applyUpdate, type Update, type UpdateDependencies } from './apply-update.js'

/** The name is one of a repository there is, or was. */
export const nameTaken = ({ type }: RepoPath): HubError => new HubError('already-exists', `You already created this ${type} repo`)

/**
 * Makes a hidden repository visible together with its first refs, in one transaction.
 * @throws HubError `already-exists` when somebody else got the name first; `conflict`; what `applyUpdate` throws
 */
export async function revealRepo(
  deps: UpdateDependencies & { readonly versions: Versions },
  path: RepoPath,
  update: Omit<Update, 'atomic' | 'lfsOids' | 'pushOptions' | 'reveal'>,
): Promise<RepoState> {
  try {
    const results = await applyUpdate(deps, { ...update, atomic: true, lfsOids: [], pushOptions: [], reveal: true })
    const refusal = results.find((result) => result.kind === 'refused')
    if (refusal?.kind === 'refused') throw new HubError('conflict', refusal.reason)
  } catch (error) {
    throw isUniqueViolation(error) ? nameTaken(path) : error
  }
  const repo = (await deps.versions.current({ repo: path })).repo
  if (!repo) throw new HubError('conflict', `repository ${path.namespace}/${path.name} vanished while it was made`)
  return repo
}
