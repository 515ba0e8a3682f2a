import { HubError } from '../errors.js'

/** COMMIT was sent and its answer never came: the transaction may stand or not. */
export class CommitOutcomeUnknown extends Error {
  constructor(cause: unknown) {
    super('the connection was lost while the transaction was committed', { cause })
    this.name = 'CommitOutcomeUnknown'
  }
}

const codeOf = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return codeOf(error) === '23505' && (constraint === undefined || (error as { constraint?: string }).constraint === constraint)
}

/** A lock was not had within `lockTimeoutMs`. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error instanceof HubError ? error.cause : error) === '55P03'

/** Two transactions waited for each other, and the server ended this one. */
export const isDeadlock = (error: unknown): boolean => codeOf(error instanceof HubError ? error.cause : error) === '40P01'

/**
 * The server refuses or ends connections. 08: so says a pooler as well. 25P03, 25P04, 57P05: this one was idle, or took too long.
 * 25006: it cannot be written to, because it is a standby now.
 */
const lostStates = /^(08...|28...|3D000|25P0[34]|25006|53300|57P0[1-5])$/
const lostCodes =
  /^(E(CONN|PIPE|NOTFOUND|TIMEDOUT|NOENT|HOST|NET|AI_)|ERR_TLS|ERR_SSL|ERR_SOCKET|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH)/
/** What `pg` says without a code. */
const lostWords =
  /Connection terminated|not queryable|Client has encountered|timeout exceeded when trying to connect|Query read timeout|timeout expired|SSL connection/

/** The server or the way to it is gone; the statement may or may not have run. */
export function isConnectionLost(error: unknown): boolean {
  if (error instanceof HubError) return error.code === 'unavailable'
  const code = codeOf(error)
  if (code !== undefined && (lostStates.test(code) || lostCodes.test(code))) return true
  return error instanceof Error && lostWords.test(error.message)
}

/** A time limit, or a deadlock: it has not run, and may when it is tried again. */
const busyStates: Readonly<Record<string, string>> = {
  '40001': 'a transaction was overtaken by another',
  '40P01': 'two transactions waited for each other',
  '55P03': 'a lock in the database was not to be had in time',
  '57014': 'a statement took too long and was cancelled',
}

/** What a statement is answered with that would change data which was moved elsewhere. */
export const sealedState = 'CM001'

/** The server cannot hold every text that JSON or an address can say: not a NUL, nor half a pair of surrogates. */
function isUnstorableText(error: unknown): boolean {
  const code = codeOf(error)
  return code === '22021' || code === '22P05' || (code === '22P02' && /type json/.test((error as Error).message))
}

/** What went wrong in the hub's own terms, with `setting` as what says where the database is; complaints that are none of these as they are. */
export function translateError(error: unknown, setting: string | undefined): unknown {
  if (error instanceof HubError) return error
  if (isConnectionLost(error)) return new HubError('unavailable', unreachable(error as Error, setting), { cause: error })
  if (codeOf(error) === sealedState) return new HubError('read-only', 'this hub was moved, and nothing is changed here any more', { cause: error })
  const busy = busyStates[codeOf(error) ?? '']
  if (busy !== undefined) return new HubError('busy', busy, { cause: error })
  if (isUnstorableText(error)) return new HubError('bad-request', 'a text has characters that cannot be stored, such as NUL', { cause: error })
  return error
}

/** Neither the server's words nor Node's have a password in them. */
function unreachable(error: Error, setting: string | undefined): string {
  // Several addresses of a name were tried: the words are in what each came to.
  const said =
    error.message || ((error as AggregateError).errors as readonly Error[] | undefined)?.map(({ message }) => message).join('; ') || 'no reason'
  const hint = /startup parameter/.test(said) ? '. Is it a pooler? Then set DATABASE_DIRECT_URL as well' : ''
  return `the database cannot be reached${setting === undefined ? '' : ` (${setting})`}: ${said}${hint}`
}
