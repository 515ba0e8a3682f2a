import { namespaceNameComplaint, repoNameComplaint } from '../auth/names.js'
import type { RepoPath, RepoType } from '../db/versions.js'
import { HubError } from '../errors.js'

/** How a repository type is called in paths: `/api/{plural}/…`, and before the name in the address of a page or a clone. */
export const repoTypePaths: Readonly<Record<RepoType, { readonly plural: string; readonly prefix: string }>> = {
  model: { plural: 'models', prefix: '' },
  dataset: { plural: 'datasets', prefix: '/datasets' },
  space: { plural: 'spaces', prefix: '/spaces' },
}

/** The repository an address names, `.git` left off; undefined when no repository can have that name. */
export function findRepoPath(type: RepoType, namespace: string, name: string): RepoPath | undefined {
  const bare = name.replace(/\.git$/, '')
  if (namespaceNameComplaint(namespace) !== undefined || repoNameComplaint(bare) !== undefined) return undefined
  return { type, namespace, name: bare }
}

/**
 * The repository a new name stands for.
 * @throws HubError `bad-request` that says what is wrong with it
 */
export function parseNewRepoPath(type: RepoType, namespace: string, name: string): RepoPath {
  const complaint = namespaceNameComplaint(namespace) ?? repoNameComplaint(name)
  if (complaint !== undefined) throw new HubError('bad-request', `${namespace}/${name}: ${complaint}`)
  return { type, namespace, name }
}

/** Where a repository is seen, below the hub's own address. */
export const repoUrl = (baseUrl: string, { type, namespace, name }: RepoPath): string =>
  `${baseUrl}${repoTypePaths[type].prefix}/${namespace}/${name}`
