import { HubError, type HubErrorCode } from '../errors.js'

/** An answer that is no success. */
export interface S3Failure {
  readonly status: number
  /** Such as `NoSuchKey`; empty where the store gave none, as for HEAD. */
  readonly code: string
}

/** The bytes are not those whose hash was announced, or not as many. */
const wrongBytes = /^(BadDigest|XAmzContentSHA256Mismatch|XAmzContentChecksumMismatch|InvalidDigest|IncompleteBody|RequestBodyIncomplete)$/
const full = /^(XMinioStorageFull|XMinioAdminBucketQuotaExceeded|QuotaExceeded|InsufficientStorage|InsufficientCapacity|EntityTooLarge)$/
const explained: Readonly<Record<string, string>> = {
  NoSuchBucket: 'its bucket is not there',
  AccessDenied: 'its access key may not do this',
  InvalidAccessKeyId: 'it does not know the access key',
  XAdminUserNotFound: 'it does not know the access key',
  SignatureDoesNotMatch: 'a key is wrong, or a proxy changed the request',
  RequestTimeTooSkewed: 'the clocks of hub and store differ by more than 15 minutes',
  AuthorizationHeaderMalformed: 'the region is another',
}
/** The store asks to come again, in one form or another. */
const passing =
  /^(SlowDown|SlowDownRead|SlowDownWrite|InternalError|ServiceUnavailable|RequestTimeout|OperationAborted|ConditionalRequestConflict|XMinioServerNotInitialized)$/
const passingStatuses = new Set([408, 429, 500, 502, 503, 504])

/** Whether the same request may succeed later. */
export const isPassing = ({ status, code }: S3Failure): boolean => passingStatuses.has(status) || passing.test(code)

/** What became of the request, in the hub's words. Neither keys nor signatures are in it. */
export function failureOf(request: string, { status, code }: S3Failure, cause?: unknown): HubError {
  const kind: HubErrorCode = wrongBytes.test(code) ? 'corrupt' : status === 507 || full.test(code) ? 'storage-full' : 'unavailable'
  const why = explained[code]
  return new HubError(kind, `the store answered ${request} with ${status}${code === '' ? '' : ` ${code}`}${why === undefined ? '' : `: ${why}`}`, {
    cause,
  })
}
