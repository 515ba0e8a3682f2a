import { LfsError } from './errors.js'

/** The name of a large object: the SHA-256 of its bytes as 64 lower-case hex digits. Made only by `parseLfsOid` and `parsePointer`. */
export type LfsOid = string & { readonly __brand: 'LfsOid' }

const hex64 = /^[0-9a-f]{64}$/

export const isLfsOid = (text: string): text is LfsOid => hex64.test(text)

/**
 * The checked oid. Capitals are refused: an oid becomes part of a path.
 * @throws LfsError `bad-oid`
 */
export function parseLfsOid(text: string): LfsOid {
  if (!isLfsOid(text))
    throw new LfsError('bad-oid', `expected an LFS object id of 64 lower-case hex digits, got ${JSON.stringify(text.slice(0, 80))}`)
  return text
}

/** A whole number of bytes, from 0 to 2^53-1. */
export const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
