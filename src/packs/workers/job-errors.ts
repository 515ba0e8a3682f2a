import { ProtocolError, type ProtocolErrorCode } from '../../../protocol/errors.js'
import { HubError, type HubErrorCode } from '../../errors.js'
import type { ErrorMessage } from './messages.js'

/** An error as it crosses threads: what callers tell apart stays apart. */
export function encodeError(error: unknown): ErrorMessage {
  if (error instanceof ProtocolError) return { kind: 'protocol', code: error.code, message: error.message }
  if (error instanceof HubError) return { kind: 'hub', code: error.code, message: error.message }
  return error instanceof Error
    ? { kind: 'other', message: error.message, stack: error.stack }
    : { kind: 'other', message: String(error), stack: undefined }
}

export function decodeError(message: ErrorMessage): Error {
  if (message.kind !== 'other') {
    return message.kind === 'protocol'
      ? new ProtocolError(message.code as ProtocolErrorCode, message.message)
      : new HubError(message.code as HubErrorCode, message.message)
  }
  const error = new Error(`in a worker: ${message.message}`)
  if (message.stack !== undefined) error.stack = message.stack
  return error
}
