import type { ConnectionOptions, Database } from '../db/pool.js'
import type { BlobStore } from '../storage/blob-store.js'

/** One end of a move: a database, and the store its rows are about. */
export interface Side {
  readonly db: Database
  readonly store: BlobStore
  /** To the server itself, past any pooler. */
  readonly directConnection: ConnectionOptions
  /** The setting that says where the database is, for complaints. */
  readonly setting: string
  /** Both, for people; no secret is in it. */
  readonly place: string
  readonly storeName: string
  /** Seals the signing keys. */
  readonly secretKey: string
}

export interface TargetSide extends Side {
  /** Puts what a hub there has to know into its data folder; a place that is told everything by its settings does nothing. */
  keepSecrets(): Promise<void>
}
