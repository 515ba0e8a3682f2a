/** Streams of larger content are left to zlib. */
export const maxSimpleBytes = 4096

const lengthBase = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258]
const lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
const distanceBase = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
]
const endOfBlock = 256

/** By the next nine bits: symbol * 16 + bits of its code. */
const fixedCodes = makeFixedCodes()

/**
 * Inflates a zlib stream of the simplest kinds, which is what most entries of a pack are: one block, stored or of the fixed code. Calling zlib
 * for each costs several times what inflating them does. Writes exactly `size` bytes into `out` and returns how many bytes from `at` the stream
 * has; 0 when it is of another kind, is wrong in any way, or is not all there before `end`: whatever is to be said of it is for zlib to say.
 *
 * Spec: RFC 1950, RFC 1951 sections 3.2.4 and 3.2.6.
 */
export function inflateSimple(bytes: Uint8Array, at: number, end: number, size: number, out: Uint8Array): number {
  if (size > maxSimpleBytes || end > bytes.length || at + 8 > end) return 0
  const method = bytes[at]!
  const flags = bytes[at + 1]!
  if (method !== 0x78 || (flags & 0x20) !== 0 || (method * 256 + flags) % 31 !== 0) return 0
  const block = bytes[at + 2]! & 7
  const after = block === 1 ? copyStored(bytes, at + 2, end, size, out) : block === 3 ? decodeFixed(bytes, at + 2, end, size, out) : 0
  if (after === 0 || after + 4 > end || !hasAdler32(bytes, after, size, out)) return 0
  return after + 4 - at
}

/** Where the block ends; 0: not here. */
function copyStored(bytes: Uint8Array, at: number, end: number, size: number, out: Uint8Array): number {
  const from = at + 5
  if (from + size > end) return 0
  const length = bytes[at + 1]! | (bytes[at + 2]! << 8)
  const complement = bytes[at + 3]! | (bytes[at + 4]! << 8)
  if (length !== size || (length ^ complement) !== 0xffff) return 0
  for (let i = 0; i < size; i++) out[i] = bytes[from + i]!
  return from + size
}

/** Where the block ends; 0: not here. */
function decodeFixed(bytes: Uint8Array, at: number, end: number, size: number, out: Uint8Array): number {
  let next = at + 1
  let hold = bytes[at]! >>> 3
  let held = 5
  let filled = 0
  for (;;) {
    // Past the end come zeros; that they were needed shows when the end of the block is known.
    while (held <= 23) {
      hold |= (next < end ? bytes[next]! : 0) << held
      next += 1
      held += 8
    }
    const code = fixedCodes[hold & 511]!
    hold >>>= code & 15
    held -= code & 15
    const symbol = code >>> 4
    if (symbol < endOfBlock) {
      if (filled === size) return 0
      out[filled++] = symbol
      continue
    }
    if (symbol === endOfBlock) {
      const after = next - (held >>> 3)
      return filled === size && after <= end ? after : 0
    }
    const kind = symbol - 257
    if (kind > 28) return 0
    const lengthBits = lengthExtra[kind]!
    const length = lengthBase[kind]! + (hold & ((1 << lengthBits) - 1))
    hold >>>= lengthBits
    held -= lengthBits
    while (held <= 23) {
      hold |= (next < end ? bytes[next]! : 0) << held
      next += 1
      held += 8
    }
    const distanceKind = reversed(hold & 31, 5)
    if (distanceKind > 29) return 0
    hold >>>= 5
    const distanceBits = distanceKind < 2 ? 0 : (distanceKind >>> 1) - 1
    const distance = distanceBase[distanceKind]! + (hold & ((1 << distanceBits) - 1))
    hold >>>= distanceBits
    held -= 5 + distanceBits
    if (distance > filled || filled + length > size) return 0
    // One by one: what is copied may be what was copied just now.
    for (const to = filled + length; filled < to; filled++) out[filled] = out[filled - distance]!
  }
}

/** Whether the four bytes at `at` are the checksum of what is in `out`. */
function hasAdler32(bytes: Uint8Array, at: number, size: number, out: Uint8Array): boolean {
  let low = 1
  let high = 0
  // 4,096 bytes are few enough for both sums to stay whole numbers of 32 bits.
  for (let i = 0; i < size; i++) {
    low += out[i]!
    high += low
  }
  const stated = bytes[at]! * 2 ** 24 + bytes[at + 1]! * 2 ** 16 + bytes[at + 2]! * 2 ** 8 + bytes[at + 3]!
  return stated === (high % 65521) * 2 ** 16 + (low % 65521)
}

function makeFixedCodes(): Uint16Array {
  const codes = new Uint16Array(512)
  const add = (symbol: number, code: number, bits: number): void => {
    for (let rest = 0; rest < 1 << (9 - bits); rest++) codes[reversed(code, bits) | (rest << bits)] = symbol * 16 + bits
  }
  for (let i = 0; i < 144; i++) add(i, 0x30 + i, 8)
  for (let i = 144; i < 256; i++) add(i, 0x190 + i - 144, 9)
  for (let i = 256; i < 280; i++) add(i, i - 256, 7)
  for (let i = 280; i < 288; i++) add(i, 0xc0 + i - 280, 8)
  return codes
}

/** Codes stand in the stream with their first bit lowest. */
function reversed(code: number, bits: number): number {
  let turned = 0
  for (let i = 0; i < bits; i++) turned |= ((code >>> i) & 1) << (bits - 1 - i)
  return turned
}
