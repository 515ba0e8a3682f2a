/**
 * Everything the hub refuses or cannot do, apart from broken git bytes (`protocol/errors`) and LFS (`lfs/errors`).
 * What status and words a code becomes is known to `src/http/error-map` alone.
 */
export type HubErrorCode =
  | 'bad-request' // 400: the request itself is malformed
  | 'bad-host' // 421: the Host header names an address this hub does not answer for
  | 'sign-in-required' // 401: anonymous, and the thing is private, absent, or needs an account
  | 'bad-credentials' // 401: a token or password was sent and is wrong, expired or revoked
  | 'forbidden' // 403: seen, but not allowed
  | 'repo-not-found' // 404
  | 'revision-not-found' // 404
  | 'entry-not-found' // 404
  | 'not-found' // 404: a route or thing that is none of the above
  | 'already-exists' // 409
  | 'conflict' // 409: somebody else was first; try again
  | 'stale-parent' // 412: the branch moved under the caller
  | 'precondition-failed' // 412: it is not the thing that the caller insists on
  | 'too-large' // 413
  | 'unsupported-media' // 415
  | 'bad-range' // 416: no part of it, or more than one
  | 'invalid' // 422: well-formed, and still not acceptable
  | 'read-only' // 503: nothing may be changed now, because the data of the hub is on its way elsewhere
  | 'busy' // 503: try again soon
  | 'unavailable' // 503: database or store out of reach
  | 'storage-full' // 507
  | 'not-implemented' // 501: on the list, not built yet
  | 'corrupt' // 500: what we stored does not read back
  | 'config' // never on the wire: a complaint about settings at start

/** An expected refusal or failure. The message names the thing and the number and is safe to show up to status 499. */
export class HubError extends Error {
  readonly code: HubErrorCode
  /** Facts a door may print beside the message, such as `url` for an existing repository. */
  readonly details: Readonly<Record<string, string>>
  constructor(code: HubErrorCode, message: string, options?: ErrorOptions & { readonly details?: Readonly<Record<string, string>> }) {
    super(message, options)
    this.name = 'HubError'
    this.code = code
    this.details = options?.details ?? {}
  }
}

/** What the system says of a full disk as HubError `storage-full`; any other error as it is. */
export function whenDiskFull(error: unknown, message: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return code === 'ENOSPC' || code === 'EDQUOT' ? new HubError('storage-full', message, { cause: error }) : error
}
