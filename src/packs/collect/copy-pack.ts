import type { ColumnsState } from '../../../protocol/pack/pack-columns.js'
import { indexOfRecord, PackRecord, type StoredCrcs } from '../../../protocol/pack/pack-record.js'
import { repack } from '../../../protocol/pack/repack.js'
import type { WorkOptions } from '../../../protocol/ports.js'
import { makeSidecars, type Sidecars } from '../pack-sidecars.js'
import type { Snapshot } from '../snapshot.js'
import { takesOf, type Selection } from './selection.js'

export interface CopyRequest {
  readonly selection: Selection
  /** Of the packs that something is taken of. */
  readonly crcs: StoredCrcs
}

/** What is known of a pack once its last byte is there. */
export interface PackChecksums {
  readonly sha1: Uint8Array
  readonly sha256: Uint8Array
  readonly bytes: number
}

/** What there is to say about a pack that was written and recorded. */
export type SidecarRequest = PackChecksums & { readonly columns: ColumnsState }

/** A pack of objects of a snapshot in the making. */
export interface CopiedPack {
  /** A chunk is valid until the next. @throws ProtocolError `corrupt` when an entry is not stored as it was once written down, `cancelled` */
  readonly chunks: AsyncIterable<Uint8Array>
  /** After the last chunk: objects in it, and what belongs to it. */
  finish(pack: PackChecksums): Promise<{ readonly objects: number; readonly sidecars: Sidecars }>
}

/** Each object once, as it is stored, its bytes held against the CRC-32 they had when they came. No object is looked into, or named anew. */
export type CopyPack = (view: Snapshot, request: CopyRequest, options: WorkOptions) => CopiedPack

/** On this thread. */
export const copyHere: CopyPack = (view, { selection, crcs }, options) => {
  const record = new PackRecord(crcs)
  return {
    chunks: repack(view, options, takesOf(view, selection), record),
    async finish(pack) {
      const { columns } = record
      return { objects: columns.count, sidecars: await sidecarsOf({ ...pack, columns }, options) }
    },
  }
}

/** @throws ProtocolError `bad-pack` when an object is there twice, `too-large`, `cancelled` */
export const sidecarsOf = ({ columns, sha1, sha256, bytes }: SidecarRequest, { slices }: WorkOptions): Promise<Sidecars> =>
  makeSidecars(indexOfRecord(columns, sha1, bytes), sha256, slices)
