import { ProtocolError } from '../errors.js'

/** Below this a loop copies faster than a call does. */
const shortCopy = 48

const cutOff = (): ProtocolError => new ProtocolError('bad-pack', 'delta ends early')

/**
 * What a delta says of itself: size of its base and of the object it makes, bytes.
 * @throws ProtocolError `bad-pack`
 */
export function deltaSizes(delta: Uint8Array): { readonly base: number; readonly result: number } {
  const base = decodeSize(delta, 0)
  return { base, result: decodeSize(delta, endOfSize(delta, 0)) }
}

function decodeSize(delta: Uint8Array, at: number): number {
  let size = 0
  let unit = 1
  for (let next = at; ; unit *= 128) {
    if (next >= delta.length) throw cutOff()
    if (unit > 2 ** 46) throw new ProtocolError('bad-pack', 'delta states an impossible size')
    const byte = delta[next++]!
    size += (byte & 0x7f) * unit
    if (byte < 0x80) return size
  }
}

function endOfSize(delta: Uint8Array, at: number): number {
  let next = at
  while (delta[next]! >= 0x80) next++
  return next + 1
}

const allocate = (bytes: number): Buffer => Buffer.allocUnsafe(bytes)

/**
 * The object that `delta` makes of `base`.
 *
 *     base size, result size: 7 bits a byte, low first; then instructions
 *     1ooooooo  copy from the base: bits 0-3 which bytes of the offset follow, bits 4-6 which of the length; length 0 is 65536
 *     0nnnnnnn  insert the n bytes that follow; n = 0 is reserved
 *
 * Spec: gitformat-pack(5), "Deltified representation".
 * `room`: memory to make it in, however little is known of what is there.
 * @throws ProtocolError `bad-pack`; `too-large` when the result is over `maxBytes`
 */
export function applyDelta(base: Uint8Array, delta: Uint8Array, maxBytes: number, room = allocate): Buffer {
  const baseSize = decodeSize(delta, 0)
  let at = endOfSize(delta, 0)
  const size = decodeSize(delta, at)
  at = endOfSize(delta, at)
  if (baseSize !== base.length) throw new ProtocolError('bad-pack', `delta wants a base of ${baseSize} bytes, and it has ${base.length}`)
  if (size > maxBytes) throw new ProtocolError('too-large', `object of ${size} bytes is over the limit of ${maxBytes}`)

  // Never handed out before every byte of it is written.
  const result = room(size)
  const end = delta.length
  let filled = 0
  while (at < end) {
    const op = delta[at++]!
    if (op >= 0x80) {
      // Bytes past the end read as undefined, count as 0, and `at > end` tells.
      let from = 0
      let length = 0
      if (op & 0x01) from = delta[at++]!
      if (op & 0x02) from |= delta[at++]! << 8
      if (op & 0x04) from |= delta[at++]! << 16
      if (op & 0x08) from = (from | (delta[at++]! << 24)) >>> 0
      if (op & 0x10) length = delta[at++]!
      if (op & 0x20) length |= delta[at++]! << 8
      if (op & 0x40) length |= delta[at++]! << 16
      if (length === 0) length = 65536
      if (at > end) throw cutOff()
      if (from + length > baseSize) throw new ProtocolError('bad-pack', 'delta copies from beyond its base')
      if (filled + length > size) throw tooMuch()
      if (length < shortCopy) for (let i = 0; i < length; i++) result[filled + i] = base[from + i]!
      else result.set(base.subarray(from, from + length), filled)
      filled += length
    } else {
      if (op === 0) throw new ProtocolError('bad-pack', 'delta has a reserved instruction')
      if (at + op > end) throw cutOff()
      if (filled + op > size) throw tooMuch()
      if (op < shortCopy) for (let i = 0; i < op; i++) result[filled + i] = delta[at + i]!
      else result.set(delta.subarray(at, at + op), filled)
      at += op
      filled += op
    }
  }
  if (filled !== size) throw new ProtocolError('bad-pack', `delta makes ${filled} bytes and not the ${size} it states`)
  return result
}

const tooMuch = (): ProtocolError => new ProtocolError('bad-pack', 'delta makes more bytes than it states')
