declare const blobKeyBrand: unique symbol
/** Where a blob is in a store, such as `packs/0f/0fab….pack`. Made by `storage/keys` alone. */
export type BlobKey = string & { readonly [blobKeyBrand]: never }

/** Bytes `from` (inclusive) to `to` (exclusive). */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

export interface BlobInfo {
  readonly key: BlobKey
  readonly bytes: number
  readonly modifiedAt: Date
}

export interface OpenOptions {
  readonly range?: ByteRange
  /** Ends the stream with the signal's reason. */
  readonly signal?: AbortSignal
}

/**
 * What bytes on their way are known to be. A store over a network then passes them on as they come, and has them verified where it can:
 * the call throws HubError `corrupt` when they are others. No store has to.
 */
export interface ExpectedBytes {
  readonly bytes?: number
  readonly sha256?: Uint8Array
  /** Every chunk stays as it is after the next was asked for: nobody need copy it. */
  readonly chunksLast?: boolean
}

export interface PutOptions extends ExpectedBytes {
  /** What is there already stays, and the new bytes may not even be asked for. */
  readonly ifAbsent?: boolean
  /** Gives up with the signal's reason, and leaves nothing behind. */
  readonly signal?: AbortSignal
}

/**
 * Bytes under a key. A blob is there whole or not at all, and once a call that stores it has come back it outlives a power cut.
 * Everything here throws HubError `storage-full` when there is no room.
 */
export interface BlobStore {
  /** Undefined: not there. */
  stat(key: BlobKey): Promise<BlobInfo | undefined>
  /**
   * The bytes, or a range of them. A chunk is valid until the next is asked for.
   * @throws HubError `corrupt` when the key is not there or ends before the range does: rows say what is stored, so bytes were lost.
   *   One that vanishes meanwhile is reported by the stream
   * @throws HubError `invalid` for what is no range
   */
  open(key: BlobKey, options?: OpenOptions): Promise<AsyncIterable<Uint8Array>>
  /** Stores the bytes, in place of what was there unless `ifAbsent`. Comes back with what is there now. Throws whatever the bytes throw. */
  put(key: BlobKey, bytes: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<BlobInfo>
  /** Gone for good when it comes back; absent is success. */
  delete(key: BlobKey): Promise<void>
  /** All blobs whose key begins so, by key. What comes or goes meanwhile may be missed. */
  list(prefix: string): AsyncIterable<BlobInfo>
  /** Throws when the store is out of reach or cannot be written to. */
  ping(): Promise<void>
}

/** Takes a file over where `put` would copy it. */
export interface FilePut {
  /**
   * Stores the file at `path`, whose content has this SHA-256. The file is gone afterwards, also when the key was there already with as
   * many bytes; one of another size is replaced. When it fails the file stays the caller's.
   * @throws HubError `corrupt` where the bytes had to be copied and are others
   */
  putFile(key: BlobKey, path: string, sha256: Uint8Array): Promise<void>
}

/** A store whose blobs are files that may be opened, and never written. */
export interface LocalFiles {
  /** Whether it is there or not. */
  pathOf(key: BlobKey): string
}

export interface Promote {
  /**
   * Takes bytes in under a staging key that is theirs alone, whole or not at all; how many they were. Their name need not outlive a power cut
   * before `promote`. `into` is the key they are to have, when a row keeps it already and size and SHA-256 are known: a store where moving bytes
   * costs as much as sending them may put them there at once, and `promote` finds them.
   */
  stage(
    staging: BlobKey,
    bytes: AsyncIterable<Uint8Array>,
    options?: ExpectedBytes & { readonly signal?: AbortSignal; readonly into?: BlobKey },
  ): Promise<number>
  /**
   * Gives staged bytes their final key, for good, and comes back with what is there. Where that has bytes already these stay, and the staged ones
   * go; called again it changes nothing. `bytes`: how many there have to be. What is there in another number is not whole, and staged bytes of
   * this number take its place.
   * @throws HubError `not-found` when neither is there
   */
  promote(staging: BlobKey, final: BlobKey, options?: { readonly bytes?: number }): Promise<BlobInfo>
}

/** An upload in parts. It can be written down, and outlives the process. */
export interface MultipartUpload {
  readonly key: BlobKey
  readonly id: string
}

export interface UploadedPart {
  /** 1 to 10,000. */
  readonly number: number
  readonly bytes: number
  /** The store's name for exactly these bytes. */
  readonly tag: string
}

/**
 * One blob in parts that come in any order, several at once, and again. All of it throws HubError `not-found` for an upload that has ended.
 * Every part but the last has 5 MiB at least: S3 puts no smaller ones together.
 */
export interface MultipartStore {
  begin(key: BlobKey): Promise<MultipartUpload>
  part(
    upload: MultipartUpload,
    number: number,
    bytes: AsyncIterable<Uint8Array>,
    options?: ExpectedBytes & { readonly signal?: AbortSignal },
  ): Promise<UploadedPart>
  /**
   * Puts the parts together, by their numbers.
   * @throws HubError `invalid` when there is none, or one that was not uploaded; the upload goes on then
   */
  complete(upload: MultipartUpload, parts: readonly UploadedPart[]): Promise<BlobInfo>
  /** Ends the upload and lets go of its parts. One that has ended is success. */
  abort(upload: MultipartUpload): Promise<void>
}

export interface LinkOptions {
  readonly expiresSeconds: number
  /** To get: what a browser is to call the file. */
  readonly fileName?: string
  /** To put: the store refuses a body that is not announced to have exactly as many. */
  readonly bytes?: number
}

/** Addresses a client can use without us. */
export interface SignedLinks {
  /** Undefined: this store has no such thing. */
  signedUrl(key: BlobKey, use: 'get' | 'put', options: LinkOptions): URL | undefined
}
