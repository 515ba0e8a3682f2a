/**
 * What can be wrong with what an LFS client says.
 * - `bad-oid`: not 64 lower-case hex digits
 * - `bad-size`: not a whole number of bytes from 0 to 2^53-1
 */
export type LfsErrorCode = 'bad-oid' | 'bad-size'

/** Thrown by everything below `lfs/`. The message is safe to show to the client. */
export class LfsError extends Error {
  readonly code: LfsErrorCode
  constructor(code: LfsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LfsError'
    this.code = code
  }
}
