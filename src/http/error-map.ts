import { LfsError, type LfsErrorCode } from '../../lfs/errors.js'
import type { ProtocolErrorCode } from '../../protocol/errors.js'
import { ProtocolError } from '../../protocol/errors.js'
import { CommitOutcomeUnknown } from '../db/pool.js'
import { HubError, type HubErrorCode } from '../errors.js'

interface Answer {
  readonly status: number
  /** `X-Error-Code`, where the Hub's clients know one. */
  readonly hubCode?: string
  /** Said in place of the error's own message. */
  readonly says?: string
  readonly retryAfterSeconds?: number
}

const internal = 'internal error: the log of the hub says more'

/** The only place that knows statuses. A code without a row does not compile. */
const answers: Readonly<Record<HubErrorCode | ProtocolErrorCode | LfsErrorCode, Answer>> = {
  'bad-request': { status: 400 },
  'bad-pack': { status: 400 },
  'bad-object': { status: 400 },
  'missing-object': { status: 400 },
  'not-our-ref': { status: 400 },
  unsupported: { status: 400 },
  'bad-body': { status: 400 },
  'sign-in-required': { status: 401 },
  'bad-credentials': { status: 401 },
  forbidden: { status: 403 },
  'repo-not-found': { status: 404, hubCode: 'RepoNotFound' },
  'revision-not-found': { status: 404, hubCode: 'RevisionNotFound' },
  'entry-not-found': { status: 404, hubCode: 'EntryNotFound' },
  'not-found': { status: 404 },
  'already-exists': { status: 409 },
  conflict: { status: 409 },
  'bad-hash-algo': { status: 409 },
  'stale-parent': { status: 412 },
  'precondition-failed': { status: 412 },
  'too-large': { status: 413 },
  'too-many-objects': { status: 413 },
  'unsupported-media': { status: 415 },
  'bad-range': { status: 416 },
  'bad-host': { status: 421 },
  invalid: { status: 422 },
  'bad-oid': { status: 422 },
  'bad-size': { status: 422 },
  cancelled: { status: 499, says: 'the client left' },
  corrupt: { status: 500, says: internal },
  config: { status: 500, says: internal },
  'not-implemented': { status: 501 }, // our own words, and all there is to know
  'read-only': { status: 503, retryAfterSeconds: 30 }, // our own words as well
  busy: { status: 503, says: 'the hub is busy, try again soon' },
  unavailable: { status: 503, says: 'the database or the store of the hub cannot be reached, try again soon' },
  'storage-full': { status: 507, says: 'no space is left on the hub' },
}

/** What the client gets to know of an error. */
export interface ErrorAnswer {
  readonly status: number
  readonly message: string
  readonly hubCode: string | undefined
  /** Where the thing is that already exists. */
  readonly url: string | undefined
  /** When it may be tried again, if that is not soon. */
  readonly retryAfterSeconds?: number | undefined
}

/** What stands in `details.subject` of a refusal that is about more than its code. */
const subjectCodes: Readonly<Record<string, string>> = { repository: 'RepoNotFound', gated: 'GatedRepo' }

/** The answer to anything that was thrown. From 500 up it says nothing of the cause: that is the log's. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof HubError) {
    const { status, hubCode, says, retryAfterSeconds } = answers[error.code]
    const { subject, url } = error.details
    return {
      status,
      message: says ?? error.message,
      hubCode: hubCode ?? (subject === undefined ? undefined : subjectCodes[subject]),
      url,
      retryAfterSeconds,
    }
  }
  if (error instanceof ProtocolError || error instanceof LfsError) {
    const { status, says } = answers[error.code]
    return plain(status, says ?? error.message)
  }
  if (error instanceof CommitOutcomeUnknown) return plain(503, answers.unavailable.says!)
  // Node's words for a request whose client left before its end.
  if (error instanceof Error && error.message === 'aborted' && 'code' in error && error.code === 'ECONNRESET') {
    return plain(answers.cancelled.status, answers.cancelled.says!)
  }
  // What Fastify itself refuses: a body too large, of the wrong type, of the wrong shape.
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500) {
    return plain(error.statusCode, error.message)
  }
  return plain(500, internal)
}

const plain = (status: number, message: string): ErrorAnswer => ({ status, message, hubCode: undefined, url: undefined })

/** A text as a header value: one line of printable ASCII. */
export const headerText = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 1000)
