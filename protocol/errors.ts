/**
 * What can be wrong with bytes that a git client sent or that we stored.
 * - `bad-request`: framing, commands or arguments break the protocol
 * - `bad-pack`: the pack is not one, or lies about itself
 * - `bad-object`: an object is malformed or dangerous to check out
 * - `missing-object`: something refers to an object nobody has
 * - `not-our-ref`: a want that this caller may not have
 * - `too-large`: over a named limit
 * - `unsupported`: legal git, not offered here
 * - `corrupt`: what we stored does not read back
 * - `cancelled`: the client left
 */
export type ProtocolErrorCode =
  | 'bad-request'
  | 'bad-pack'
  | 'bad-object'
  | 'missing-object'
  | 'not-our-ref'
  | 'too-large'
  | 'unsupported'
  | 'corrupt'
  | 'cancelled'

/** Thrown by everything below `protocol/`. The message is safe to show to the client. */
export class ProtocolError extends Error {
  readonly code: ProtocolErrorCode
  constructor(code: ProtocolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ProtocolError'
    this.code = code
  }
}
