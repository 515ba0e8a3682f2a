import type { IncomingHttpHeaders } from 'node:http'

/** `send` the thing; `not-modified`: the client has it (304); `failed`: it is not what the client insists on (412). */
export type Precondition = 'send' | 'not-modified' | 'failed'

/**
 * What `If-Match` and `If-None-Match` make of a GET or HEAD of something with this strong etag, quotes included. Dates are passed over: we
 * know none.
 *
 * Spec: RFC 9110, 13.2.2.
 */
export function checkPreconditions(headers: IncomingHttpHeaders, etag: string): Precondition {
  const match = headers['if-match']
  if (match !== undefined && !names(match, etag, 'strong')) return 'failed'
  const noneMatch = headers['if-none-match']
  return noneMatch !== undefined && names(noneMatch, etag, 'weak') ? 'not-modified' : 'send'
}

/** Whether `Range` is to be heeded: without `If-Range`, or when that names exactly this. A date never does. */
export const rangeApplies = (headers: IncomingHttpHeaders, etag: string): boolean => {
  const condition = headers['if-range']
  return condition === undefined || (typeof condition === 'string' && condition.trim() === etag)
}

/** Whether a list of entity tags, or `*`, names this one. */
function names(list: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (list.trim() === '*') return true
  // Without its quotes a tag is none, but people type them so.
  const bare = etag.slice(1, -1)
  for (const [, weak, tag] of list.matchAll(/(W\/)?("[^"]*"|[^\s,"]+)/g)) {
    if (weak !== undefined && comparison === 'strong') continue
    if (tag === etag || tag === bare) return true
  }
  return false
}
