/** How the hub's cookies are called and where they go. Browsers hold a name with a prefix to what it promises. */
interface CookiePlace {
  readonly prefix: '__Host-' | '__Secure-' | ''
  readonly attributes: string
}

/** Of every cookie of ours. */
const always = 'HttpOnly; SameSite=Lax'
export type CookieName = 'cairn-session' | 'cairn-sign-in'

/** Below a public address with a path nothing else on that host gets to see them. */
function placeOf(baseUrl: string): CookiePlace {
  const { protocol, pathname } = new URL(baseUrl)
  const secure = protocol === 'https:'
  const path = pathname.replace(/\/+$/, '') || '/'
  const attributes = `Path=${path}; ${always}${secure ? '; Secure' : ''}`
  if (!secure) return { prefix: '', attributes }
  return { prefix: path === '/' ? '__Host-' : '__Secure-', attributes }
}

/** A `Set-Cookie` header. `seconds` 0 takes the cookie back. `value` is letters, digits, `-` and `_`. */
export function setCookie(baseUrl: string, name: CookieName, value: string, seconds: number): string {
  const { prefix, attributes } = placeOf(baseUrl)
  return `${prefix}${name}=${value}; Max-Age=${seconds}; ${attributes}`
}

/** The value a `Cookie` header has under the name that we would have given it; the first, as browsers put the closest path first. */
export function readCookie(header: string | undefined, baseUrl: string, name: CookieName): string | undefined {
  if (header === undefined) return undefined
  const wanted = `${placeOf(baseUrl).prefix}${name}`
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at !== -1 && pair.slice(0, at).trim() === wanted) return pair.slice(at + 1).trim()
  }
  return undefined
}
