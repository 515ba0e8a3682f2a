import { HubError } from '../errors.js'
import type { FileAddress } from '../repos/revisions.js'

/**
 * Revision and path out of a request's own address, behind its first `skipped` segments. The router's decoded parameter will not do: in it
 * `a%2Fb/c` and `a/b/c` look the same, and an encoded slash says where the revision ends.
 * @throws HubError `bad-request` when it does not decode
 */
export function parseFileAddress(url: string, skipped: number): FileAddress {
  const [path = ''] = url.split(/[?#]/, 1)
  const raw = path.split('/').slice(1 + skipped)
  return { segments: raw.map(decodeSegment), isFirstRevision: /%2f/i.test(raw[0] ?? '') }
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (error) {
    throw new HubError('bad-request', 'the address does not decode as UTF-8', { cause: error })
  }
}
