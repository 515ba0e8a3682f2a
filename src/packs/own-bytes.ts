/**
 * The parts one after another, copied to memory of their own. Node cuts small buffers from slabs of 64 KiB, and what comes from the network from
 * chunks as large: a hash of 20 bytes that is kept for long keeps all of that.
 */
export function ownBytes(...parts: readonly Uint8Array[]): Buffer {
  const own = Buffer.allocUnsafeSlow(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    own.set(part, at)
    at += part.length
  }
  return own
}
