import type { Sleep } from '../../protocol/ports.js'
import type { SignedLinks } from '../auth/signed-links.js'
import type { RepoType } from '../db/repositories.js'
import type { Repos } from '../repos/repos.js'
import type { BundleClaims } from './bundles.js'

/** What each route of one repository type is made of. */
export interface GitRoutes {
  readonly repos: Repos
  readonly maxPackBytes: number
  /** Undefined: no bundles are offered. */
  readonly links: SignedLinks<BundleClaims> | undefined
  readonly clock: { readonly sleep: Sleep; readonly keepaliveMs: number }
  readonly repoType: RepoType
  /** `/:namespace/:name` behind what the type puts before it. A name may end in `.git`. */
  readonly prefix: string
}
