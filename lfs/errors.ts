/**
 * What can be wrong with what an LFS client says.
 * - `bad-body`: not the JSON that is expected here
 * - `bad-oid`: not 64 lower-case hex digits
 * - `bad-size`: not a whole number of bytes from 0 to 2^53-1
 * - `bad-hash-algo`: object ids of another kind than SHA-256
 * - `too-many-objects`: more in one batch than is taken
 */
export type LfsErrorCode = 'bad-body' | 'bad-oid' | 'bad-size' | 'bad-hash-algo' | 'too-many-objects'

/** Thrown by everything below `lfs/`. The message is safe to show to the client. */
export class LfsError extends Error {
  readonly code: LfsErrorCode
  constructor(code: LfsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LfsError'
    this.code = code
  }
}
