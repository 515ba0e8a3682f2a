import { HubError } from '../errors.js'
import type { UploadedPart } from './blob-store.js'

/** @throws HubError `invalid` for a number no part can have */
export function checkPartNumber(number: number): void {
  if (!Number.isInteger(number) || number < 1 || number > 10_000) throw new HubError('invalid', `a part's number is 1 to 10000, not ${number}`)
}

/**
 * By number.
 * @throws HubError `invalid` when there is none, or a number twice
 */
export function sortParts(parts: readonly UploadedPart[]): readonly UploadedPart[] {
  const sorted = parts.toSorted((a, b) => a.number - b.number)
  if (sorted.length === 0) throw new HubError('invalid', 'an upload has at least one part')
  for (const [i, { number }] of sorted.entries()) {
    if (number === sorted[i - 1]?.number) throw new HubError('invalid', `part ${number} is there twice`)
  }
  return sorted
}

export const uploadEnded = (cause?: unknown): HubError => new HubError('not-found', 'the upload has ended', { cause })
export const partMissing = (number: number): HubError => new HubError('invalid', `part ${number} was not uploaded`)
