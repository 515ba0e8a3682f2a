/**
 * The protocol version a client offers by `Git-Protocol: version=2` (`key=value` lists, colons between). The highest we know counts; 0 without any.
 *
 * Spec: gitprotocol-http(5), gitprotocol-v2(5), "HTTP Transport".
 */
export function protocolVersion(header: string | readonly string[] | undefined): 0 | 1 | 2 {
  const offered = (typeof header === 'string' ? header : (header ?? []).join(':')).split(/[:,]/).map((word) => word.trim())
  if (offered.includes('version=2')) return 2
  return offered.includes('version=1') ? 1 : 0
}
