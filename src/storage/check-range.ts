import { HubError } from '../errors.js'
import type { ByteRange } from './blob-store.js'

/**
 * The range, or all of it. A range may be empty, and reach to the end.
 * @throws HubError `invalid` when it is none, `corrupt` when the blob ends before it does
 */
export function checkRange(key: string, bytes: number, range: ByteRange = { from: 0, to: bytes }): ByteRange {
  const { from, to } = range
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to)) {
    throw new HubError('invalid', `bytes ${from} to ${to} are no range`)
  }
  if (to > bytes) throw new HubError('corrupt', `bytes ${from} to ${to} lie outside ${key} of ${bytes} bytes`)
  return range
}
