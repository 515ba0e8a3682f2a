import { ProtocolError } from '../errors.js'

const newline = 0x0a
const hexDigits = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(byte))
  return digit === -1 ? 0xff : digit
})

/** Where `refer` finds the oid of a header line. Good until the next one is read. */
const scratch = new Uint8Array(20)

/**
 * Where the header of a commit or tag ends: the empty line, or the end of an object without a body.
 * @throws ProtocolError `bad-object` for a NUL in the header, or one that ends amid a line
 */
export function findHeaderEnd(data: Uint8Array, what: string): number {
  for (let at = 0; at < data.length; at++) {
    const byte = data[at]
    if (byte === 0) throw new ProtocolError('bad-object', `${what} has a NUL byte in its header, at byte ${at}`)
    if (byte === newline && data[at + 1] === newline) return at + 1
  }
  // No body is no crime, a last line without an end is one.
  if (data[data.length - 1] !== newline) throw new ProtocolError('bad-object', `${what} has a header that does not end`)
  return data.length
}

/** Whether the line at `at` begins with `key`, which includes the space. */
export function hasKey(data: Uint8Array, at: number, key: Uint8Array): boolean {
  for (let i = 0; i < key.length; i++) if (data[at + i] !== key[i]) return false
  return true
}

/**
 * The 20 bytes that 40 hex digits and a newline at `at` stand for; spoilt by the next call.
 * @throws ProtocolError `bad-object`; for the null oid as well
 */
export function oidOfLine(data: Uint8Array, at: number, what: string): Uint8Array {
  let all = 0
  let invalid = data[at + 40] === newline ? 0 : 0x80
  for (let i = 0; i < 20; i++) {
    const high = hexDigits[data[at + 2 * i] ?? 0]!
    const low = hexDigits[data[at + 2 * i + 1] ?? 0]!
    invalid |= high | low
    scratch[i] = (high << 4) | low
    all |= scratch[i]!
  }
  if ((invalid & 0x80) !== 0) throw new ProtocolError('bad-object', `${what} is not 40 hex digits on a line`)
  if (all === 0) throw new ProtocolError('bad-object', `${what} is the null object id`)
  return scratch
}
