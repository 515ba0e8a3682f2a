import type { PackView, StagedPack } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { NewPack } from '../db/packs.js'
import type { Sidecars } from './pack-sidecars.js'

/** A pack in the spool, and what it takes to store it. */
export interface StoragePack {
  /** Undefined: nothing is to be stored. */
  readonly pack: CheckedPack | undefined
  /** Stores the bytes, whole and synced. Still invisible. */
  publish(): Promise<void>
  /** Removes the spool. Never throws. */
  dispose(): Promise<void>
}

/** A pack that was checked against one repository. */
export interface StagedRepoPack extends StagedPack, StoragePack {
  /** What the checks stand on. */
  readonly basis: { readonly packsVer: number; readonly gcEpoch: number }
  /** Sorted: all that the push relies on and does not bring. */
  readonly externals: readonly Uint8Array[]
  /** Those externals that may not be relied on in a later snapshot. */
  recheck(view: PackView): readonly Oid[]
}

/** Everything a row says of a pack, and where it is to be stored. */
export interface CheckedPack {
  readonly sha1: Buffer
  readonly sha256: Buffer
  readonly bytes: number
  readonly objects: number
  readonly source: NewPack['source']
  readonly roots: Uint8Array | null
  /** It refers to objects outside itself. */
  readonly external: boolean
  /** Whole pack for those that live in the database; undefined: it goes to the BlobStore. */
  readonly inline: Buffer | undefined
  readonly sidecars: Sidecars
}
