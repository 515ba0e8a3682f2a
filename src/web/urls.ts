import { repoTypePaths } from '../http/repo-path.js'
import type { RepoPath } from '../db/versions.js'

/** Every link of the pages. All are paths on this host, below the public address's own path. */
export interface Urls {
  readonly signIn: (next?: string) => string
  readonly signOut: () => string
  readonly stylesheet: (name: string) => string
  /** `branch` undefined: the default one. */
  readonly upload: (repo: RepoPath, branch?: string, committed?: string) => string
  /** A path of this hub as it was asked for, to go on with. */
  readonly local: (path: string) => string
}

export function createUrls(baseUrl: string): Urls {
  const base = new URL(baseUrl).pathname.replace(/\/+$/, '')
  return {
    signIn: (next) => `${base}/sign-in${next === undefined ? '' : `?next=${encodeURIComponent(next)}`}`,
    signOut: () => `${base}/sign-out`,
    stylesheet: (name) => `${base}/assets/${name}`,
    upload: (repo, branch, committed) =>
      `${base}${uploadPath(repo, branch)}${committed === undefined ? '' : `?committed=${encodeURIComponent(committed)}`}`,
    local: (path) => `${base}${path}`,
  }
}

/** Without the public address's path. */
export function uploadPath({ type, namespace, name }: RepoPath, branch?: string): string {
  const place = [namespace, name, 'upload', ...(branch === undefined ? [] : branch.split('/'))]
  return `${repoTypePaths[type].prefix}/${place.map(encodeURIComponent).join('/')}`
}

const maxNextLength = 2_000

/**
 * Where somebody wanted to go before he was asked to sign in: a path on this hub, or undefined. What a browser would take for another
 * host (`//x`, `/\x`, with tabs between) is not.
 */
export function localPath(next: string | undefined): string | undefined {
  if (next === undefined || next.length > maxNextLength || !/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(next)) return undefined
  const url = new URL(next, 'http://hub.invalid')
  return url.host === 'hub.invalid' && !url.pathname.startsWith('//') ? next : undefined
}
