import type { LargeObject } from '../../lfs/ports.js'
import type { LfsOid } from '../../lfs/types.js'
import type { RepoState } from '../db/versions.js'
import type { OpenOptions } from '../storage/blob-store.js'

export interface Claim {
  readonly repoId: number
  readonly objects: readonly LargeObject[]
  /** Where else the caller may read. Asked about repositories that link an object, until one says yes. */
  readonly mayRead: (repo: RepoState) => boolean
}

export interface Reservation {
  readonly repoId: number
  readonly actorId: number
  readonly objects: readonly LargeObject[]
  readonly lifetimeMs: number
}

export interface Upload extends LargeObject {
  /** What `reserve` gave; undefined: bytes that come without a reservation (a form, an API commit). */
  readonly uploadId?: string | undefined
  readonly repoId: number
  readonly actorId: number
  readonly signal: AbortSignal
  /** Every chunk of the bytes stays as it is after the next was asked for. */
  readonly chunksLast?: boolean
}

/** Large objects between clients and the store itself, for stores that sign links. */
export interface DirectTransfers {
  /** Where a client puts the bytes of an upload it was given room for. Undefined: they have to come through the hub. */
  uploadUrl(object: LargeObject, uploadId: string, lifetimeMs: number): URL | undefined
  /** Where a client gets an object. Whoever asks has found a link first. @throws HubError `corrupt` when it is not in the store */
  downloadUrl(oid: LfsOid, options: { readonly lifetimeMs: number; readonly fileName?: string }): Promise<URL>
  /**
   * Reads what a client has put there, and publishes and links it when it is what was said. False: nothing is there. It goes on when the client
   * leaves: reading takes as long as it takes, and who asks again hears of the same work.
   * @throws HubError as `receive`
   */
  accept(upload: Omit<Upload, 'signal'>): Promise<boolean>
}

/**
 * Large objects, each stored once for all repositories, each readable only through a repository that links it.
 * An object exists once its bytes have been hashed and found to be what they were called.
 */
export interface LargeFiles {
  /** The true sizes of those that this repository links. Others are not told apart from what does not exist. */
  find(repoId: number, oids: readonly LfsOid[]): Promise<ReadonlyMap<LfsOid, number>>
  /**
   * For who wants to upload: what this repository links already, its `last_seen` renewed, and what it links from now on because the caller may
   * read it elsewhere. True sizes. What is not in the answer has to be sent.
   */
  claim(claim: Claim): Promise<ReadonlyMap<LfsOid, number>>
  /** Makes room for uploads to come. Upload ids by oid. @throws HubError `storage-full` when the hub's reservations would exceed what may be reserved */
  reserve(reservation: Reservation): Promise<ReadonlyMap<LfsOid, string>>
  /**
   * Takes the bytes of one object: hashed as they come, published and linked to the repository only when size and SHA-256 are what was said.
   * Sent again, or by two at once, it ends the same.
   * @throws HubError `invalid` when they are not (nothing is kept), `busy`, `storage-full`; the signal's reason
   */
  receive(upload: Upload, bytes: AsyncIterable<Uint8Array>): Promise<void>
  /**
   * The bytes, or a range of them. Whoever asks has found a link first.
   * @throws HubError `corrupt` when they are not in the store
   */
  open(oid: LfsOid, options?: OpenOptions): Promise<AsyncIterable<Uint8Array>>
  /** Undefined: all bytes pass through the hub. */
  readonly direct?: DirectTransfers | undefined
}
