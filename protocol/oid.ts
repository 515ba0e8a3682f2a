import { ProtocolError } from './errors.js'
import type { Oid } from './types.js'

const hex40 = /^[0-9a-f]{40}$/

/**
 * The oid written as 40 hex digits; capitals are folded.
 * @throws ProtocolError `bad-request`
 */
export function parseOid(text: string): Oid {
  const oid = text.toLowerCase()
  if (!hex40.test(oid)) throw new ProtocolError('bad-request', `expected an object id of 40 hex digits, got ${JSON.stringify(text.slice(0, 80))}`)
  return oid as Oid
}

export const isOid = (text: string): text is Oid => hex40.test(text)

/** The oid whose 20 raw bytes start at `offset`. */
export function oidFromBytes(bytes: Uint8Array, offset = 0): Oid {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, 20).toString('hex') as Oid
}

/** The 20 raw bytes of an oid. */
export const oidBytes = (oid: Oid): Buffer => Buffer.from(oid, 'hex')
