import type { RepoState, RepoType } from '../../db/versions.js'
import { HubError } from '../../errors.js'
import type { RepoInfo } from '../../repos/repos.js'
import { wireId } from '../whoami.js'

const common = [
  'author',
  'cardData',
  'createdAt',
  'disabled',
  'lastModified',
  'likes',
  'private',
  'resourceGroup',
  'sha',
  'siblings',
  'tags',
  'trendingScore',
  'usedStorage',
  'gitalyUid',
  'xetEnabled',
]

/** What `expand` may name, sorted: a client's test reads the list out of the refusal. We know a part of it; the rest is left out of answers. */
const expandKeys: Readonly<Record<RepoType, readonly string[]>> = {
  model: [
    ...common,
    'baseModels',
    'childrenModelCount',
    'config',
    'downloads',
    'downloadsAllTime',
    'evalResults',
    'gated',
    'gguf',
    'inference',
    'inferenceProviderMapping',
    'library_name',
    'mask_token',
    'model-index',
    'pipeline_tag',
    'safetensors',
    'spaces',
    'transformersInfo',
    'widgetData',
  ].toSorted(),
  dataset: [...common, 'citation', 'description', 'downloads', 'downloadsAllTime', 'gated', 'mainSize', 'paperswithcode_id'].toSorted(),
  space: [...common, 'datasets', 'models', 'region', 'runtime', 'sdk', 'subdomain'].toSorted(),
}

/** @throws HubError `bad-request` that lists what there is */
export function checkExpand(type: RepoType, expand: readonly string[]): void {
  const known = expandKeys[type]
  if (expand.every((key) => known.includes(key))) return
  throw new HubError('bad-request', `"expand" must be one of [${known.join(', ')}]`)
}

export interface InfoOptions {
  /** Siblings with size and blob id. */
  readonly blobs: boolean
  /** Only these keys; none: all. */
  readonly expand: readonly string[]
}

/** A repository as the Hub's info calls show it. */
export function infoOf(repo: RepoState, { sha, lastModified, siblings }: RepoInfo, { blobs, expand }: InfoOptions): Record<string, unknown> {
  const id = `${repo.namespace}/${repo.name}`
  const named = { _id: wireId(repo.id), id }
  const all: Record<string, unknown> = {
    ...named,
    ...(repo.type === 'model' ? { modelId: id } : {}),
    author: repo.namespace,
    sha,
    lastModified: lastModified.toISOString(),
    createdAt: repo.createdAt.toISOString(),
    private: repo.visibility === 'private',
    ...(repo.type === 'space' ? { sdk: repo.sdk } : { gated: repo.gated ?? false, downloads: 0 }),
    disabled: repo.disabled,
    likes: 0,
    tags: [],
    usedStorage: repo.bytes,
    siblings: siblings.map(({ path, size, blobId }) => (blobs ? { rfilename: path, size, blobId } : { rfilename: path })),
  }
  if (expand.length === 0) return all
  return { ...named, ...Object.fromEntries(expand.filter((key) => key in all).map((key) => [key, all[key]])) }
}
