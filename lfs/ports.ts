import type { LfsOid } from './types.js'

/** A large object as somebody names it: `size` in bytes is their claim until the bytes have been seen. */
export interface LargeObject {
  readonly oid: LfsOid
  readonly size: number
}

/** One HTTP request that a client is to make. */
export interface Action {
  readonly href: string
  readonly header?: Readonly<Record<string, string>>
  /** Seconds. */
  readonly expires_in: number
}

/** Large objects as one repository has them, for one caller. */
export interface LfsStore {
  /** True sizes of those that the repository links. */
  find(oids: readonly LfsOid[]): Promise<ReadonlyMap<LfsOid, number>>
  /** The same for who wants to upload; what the caller can read elsewhere is linked from now on. */
  claim(objects: readonly LargeObject[]): Promise<ReadonlyMap<LfsOid, number>>
  /** Makes room for one upload. Its id, or why there is no room. */
  reserve(objects: readonly LargeObject[]): Promise<ReadonlyMap<LfsOid, string> | { readonly noRoom: string }>
  download(object: LargeObject): Promise<Action>
  upload(object: LargeObject, uploadId: string): Promise<{ readonly upload: Action; readonly verify: Action }>
}
