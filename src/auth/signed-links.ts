import type { KeyPurpose, KeyRing } from './keys.js'

/** Addresses that carry their own permission: what they are for, signed, until a time. */
export interface SignedLinks<Claims extends object> {
  /** For a query parameter. */
  sign(claims: Claims, lifetimeMs: number): Promise<string>
  /** Undefined: nobody here signed it, or its time is over. */
  read(token: string): Promise<Claims | undefined>
}

const maxTokenLength = 2_000

/** `<claims as JSON in base64url>.<kid>.<HMAC>`: nothing is stored, and nothing in it is secret but the signature. */
export function createSignedLinks<Claims extends object>(
  keys: Pick<KeyRing, 'sign' | 'verify'>,
  purpose: KeyPurpose,
  now: () => number = Date.now,
): SignedLinks<Claims> {
  return {
    async sign(claims, lifetimeMs) {
      const text = Buffer.from(JSON.stringify({ ...claims, exp: now() + lifetimeMs })).toString('base64url')
      return `${text}.${await keys.sign(purpose, text)}`
    },
    async read(token) {
      const dot = token.indexOf('.')
      if (dot === -1 || token.length > maxTokenLength) return undefined
      const text = token.slice(0, dot)
      if (!(await keys.verify(purpose, text, token.slice(dot + 1)))) return undefined
      const { exp, ...claims } = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Claims & { readonly exp: number }
      return exp > now() ? (claims as unknown as Claims) : undefined
    },
  }
}
