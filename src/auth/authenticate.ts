import { hashToken } from './tokens.js'

/** What an `Authorization` header says. */
export type Credentials = { readonly kind: 'none' } | { readonly kind: 'token'; readonly hash: Buffer } | { readonly kind: 'unusable' } // something was sent, and it can be no token of ours

const maxTokenBytes = 512

/**
 * Reads a header. `Bearer <token>` is what the Hub's clients send; `Basic` is what git and git-lfs send, with the token as password and any
 * user name. A scheme that is missing, unknown or broken is a wrong credential, never an anonymous caller.
 *
 * Spec: RFC 7617; RFC 6750.
 */
export function readCredentials(header: string | undefined): Credentials {
  if (header === undefined) return { kind: 'none' }
  const [, scheme = '', value = ''] = /^\s*([A-Za-z0-9_-]+) +(\S+)\s*$/.exec(header) ?? []
  let token = ''
  if (scheme.toLowerCase() === 'bearer') token = value
  if (scheme.toLowerCase() === 'basic') {
    const pair = Buffer.from(value, 'base64').toString('utf8')
    const colon = pair.indexOf(':')
    if (colon !== -1) token = pair.slice(colon + 1)
  }
  if (token === '' || token.length > maxTokenBytes) return { kind: 'unusable' }
  return { kind: 'token', hash: hashToken(token) }
}
