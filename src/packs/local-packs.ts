import type { LocalFiles } from '../storage/blob-store.js'
import { packKey } from '../storage/keys.js'

/** A pack of the store: its SHA-256, and how many bytes its row says it has. */
export interface PackName {
  readonly sha256: Uint8Array
  readonly bytes: number
}

/** Packs of the store as files that may be opened here, and never written. */
export interface LocalPacks {
  /** Where a pack lies: always, or while it is leased. */
  pathOf(sha256: Uint8Array): string
  /** Undefined: every pack lies here for good. */
  readonly leasing: PackLeasing | undefined
}

/** Brings packs here and keeps them for as long as somebody needs them. */
export interface PackLeasing {
  /**
   * All of these packs are here, and are what their names say, until the lease is released. The room for them is taken at once or not at all.
   * @throws HubError `storage-full` when there is no room in time, or never can be; `corrupt` when the store has other bytes, or none;
   *   ProtocolError `cancelled` once the signal aborts
   */
  lease(packs: readonly PackName[], signal?: AbortSignal): Promise<PackLease>
  /**
   * The bytes of a pack from the first to the last, as they come from the store when they are not here yet. The last ones are given only when
   * all of them were what the name says. A chunk is valid until the next.
   * @throws as `lease`; but a pack that has no room goes by without being kept
   */
  stream(pack: PackName, signal?: AbortSignal): AsyncIterable<Uint8Array>
}

export interface PackLease {
  /** Once; whoever holds a file open closes it before. */
  release(): void
}

/** Of a store whose blobs are files. */
export const packsInStore = (files: LocalFiles): LocalPacks => ({ pathOf: (sha256) => files.pathOf(packKey(sha256)), leasing: undefined })
