/** A SHA-256 of 64 hex digits as it stands in a row. */
export const sha256Bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
export const allSha256Bytes = (hexes: readonly string[]): Buffer[] => hexes.map(sha256Bytes)
