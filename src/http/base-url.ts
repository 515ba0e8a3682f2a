import { isIPv4 } from 'node:net'
import { HubError } from '../errors.js'

export interface BaseUrlOptions {
  /** Without a slash at its end. With it every link begins so, whatever a request says. */
  readonly publicUrl: string | undefined
  /** `name` or `name:port`: what besides loopback a request may call us. */
  readonly allowedHosts: readonly string[]
}

/** What of a request says how it called us; behind a trusted proxy, how the proxy was called. */
export interface Addressed {
  readonly protocol: string
  readonly host: string
}

/**
 * The address in front of every absolute link. Without a public address it is the one the client used, because clients compare; but only
 * names we answer for, or a stranger's page could make a browser talk to us under his own name.
 * @throws HubError `bad-host`
 */
export function createBaseUrl({ publicUrl, allowedHosts }: BaseUrlOptions): (request: Addressed) => string {
  if (publicUrl !== undefined) {
    const fixed = publicUrl.replace(/\/+$/, '')
    return () => fixed
  }
  const allowed = new Set(allowedHosts.map((host) => host.toLowerCase()))
  return ({ protocol, host }) => {
    const hostname = hostnameOf(host)
    if (hostname === undefined || !(isLoopback(hostname) || allowed.has(hostname) || allowed.has(host.toLowerCase()))) {
      throw new HubError('bad-host', `this hub does not answer for the host '${host.slice(0, 200)}': set CAIRN_PUBLIC_URL or CAIRN_ALLOWED_HOSTS`)
    }
    return `${protocol}://${host}`
  }
}

/** Whether a Host header names this machine itself. */
export function isLoopbackHost(host: string): boolean {
  const hostname = hostnameOf(host)
  return hostname !== undefined && isLoopback(hostname)
}

function hostnameOf(host: string): string | undefined {
  if (!/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/.test(host)) return undefined
  return host.replace(/:\d+$/, '').toLowerCase()
}

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || (isIPv4(hostname) && hostname.startsWith('127.'))
