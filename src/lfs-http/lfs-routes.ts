import type { RepoType } from '../db/versions.js'
import type { Locks } from '../large-files/locks.js'
import type { StoreDependencies } from './store.js'

/** What the routes of one repository type stand on. */
export interface LfsRoutes extends StoreDependencies {
  readonly locks: Locks
  readonly repoType: RepoType
  /** Up to and with `/info/lfs`. */
  readonly prefix: string
}
