import { isUtf8 } from 'node:buffer'
import { ProtocolError } from './errors.js'
import { wireLimits } from './limits.js'
import type { RefName } from './types.js'

/** Kept for the server: pushes can neither write nor delete here. */
export const reservedRefPrefixes: readonly string[] = ['refs/pr/', 'refs/convert/', 'refs/internal/']

export const isReservedRef = (name: RefName): boolean => reservedRefPrefixes.some((prefix) => name.startsWith(prefix))

/** A name as the wire or the database has it, unchecked. */
export const refNameFromBytes = (bytes: Uint8Array): RefName =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1') as RefName

/** The name as people read it. */
export const refText = (name: RefName): string => Buffer.from(name, 'latin1').toString('utf8')

/**
 * A full ref name given as ordinary text (UTF-8 on the wire), checked for creating or updating.
 * @throws ProtocolError `bad-request`
 */
export function parseRefName(text: string): RefName {
  const name = Buffer.from(text, 'utf8').toString('latin1') as RefName
  const reason = checkRefName(name)
  if (reason !== undefined) throw new ProtocolError('bad-request', `${JSON.stringify(text.slice(0, 255))} cannot be a ref: ${reason}`)
  return name
}

/** Control bytes, space, DEL and what revisions and patterns are written with. */
const forbidden = /[\x00-\x20\x7f~^:?*[\\]/
const objectId = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i

/**
 * Why a push may not write this name, in the words git users know, or `undefined` when it may. Deleting is allowed wherever git's own
 * rules hold, so that a name from before a rule of ours can still go.
 *
 * Spec: git-check-ref-format(1); the rules behind "funny refname" are git's, the others are ours.
 */
export function checkRefName(name: RefName, use: 'update' | 'delete' = 'update'): string | undefined {
  if (!isWellFormed(name, use === 'delete' ? 2 : 3)) return 'funny refname'
  if (use === 'delete') return undefined
  if (name.length > wireLimits.refNameBytes) return `ref name is over ${wireLimits.refNameBytes} bytes`
  const bytes = Buffer.from(name, 'latin1')
  if (!isUtf8(bytes)) return 'ref name is not UTF-8'
  // Other people's git prints names as they are, and some terminals obey these as they do ESC.
  if (/[\x80-\x9f\u2028\u2029]/.test(bytes.toString('utf8'))) return 'ref name has control characters'
  const short = shortName(name)
  if (short === undefined) return undefined
  if (objectId.test(short)) return 'branch and tag names must not look like object ids'
  if (name === 'refs/heads/HEAD') return 'a branch cannot be called HEAD'
  if (short.startsWith('-') || short.includes('/-')) return 'no part of a branch or tag name may begin with a dash'
  return undefined
}

function isWellFormed(name: string, leastParts: number): boolean {
  if (!name.startsWith('refs/') || forbidden.test(name) || name.includes('..') || name.includes('@{') || name.endsWith('.')) return false
  const parts = name.split('/')
  return parts.length >= leastParts && parts.every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'))
}

function shortName(name: string): string | undefined {
  if (name.startsWith('refs/heads/')) return name.slice(11)
  if (name.startsWith('refs/tags/')) return name.slice(10)
  return undefined
}
