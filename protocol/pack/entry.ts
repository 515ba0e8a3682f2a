import { inflateSync } from 'node:zlib'
import { ProtocolError } from '../errors.js'
import { inflateSimple, maxSimpleBytes } from './simple-inflate.js'

/** How an entry is stored: 1 commit, 2 tree, 3 blob, 4 tag, whole; 6 a delta of an entry further up, 7 a delta of a named object. */
export type EntryType = 1 | 2 | 3 | 4 | 6 | 7

/**
 * What stands before an entry's zlib stream.
 *
 *     first byte: bit 7 more follows, bits 6-4 type, bits 3-0 low bits of the size; then 7 bits of the size a byte, low first
 *     type 6: distance back to the base, 7 bits a byte, high first, each further byte adding one
 *     type 7: 20 bytes, the name of the base
 *
 * Spec: gitformat-pack(5), "pack-*.pack files have the following format".
 */
export interface EntryHeader {
  readonly type: EntryType
  /** What the zlib stream inflates to, bytes: the object, or its delta. */
  readonly size: number
  /** Bytes before the zlib stream, the reference to the base included. */
  readonly headerBytes: number
  /** Type 6: where the base's entry begins in the pack. */
  readonly baseOffset?: number
  /** Type 7: name of the base, 20 bytes within the bytes decoded from. */
  readonly baseOid?: Uint8Array
}

export interface InflatedEntry {
  readonly data: Buffer
  /** Bytes of the zlib stream. */
  readonly consumed: number
}

/** No entry is shorter: one byte of header and an empty zlib stream. */
export const minEntryBytes = 9
/** Bytes after which any entry header is complete. */
export const maxHeaderBytes = 32
/** Signature, version and count. */
export const packHeaderBytes = 12

/** What a pack of so many objects begins with. Spec: gitformat-pack(5). */
export function encodePackHeader(objects: number): Buffer {
  const header = Buffer.alloc(packHeaderBytes)
  header.write('PACK', 0, 'latin1')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(objects, 8)
  return header
}
/** The SHA-1 that ends a pack. */
export const trailerBytes = 20

/** More input than an honest deflate makes of `size` bytes. */
export const deflatedBound = (size: number): number => size + Math.floor(size / 512) + 256

/**
 * The header of the entry at `at`, which is byte `entryOffset` of its pack. Undefined: more bytes are needed.
 * @throws ProtocolError `bad-pack`
 */
export function decodeEntryHeader(bytes: Uint8Array, at: number, entryOffset: number): EntryHeader | undefined {
  const end = bytes.length
  if (at >= end) return undefined
  let next = at
  let byte = bytes[next++]!
  const type = (byte >> 4) & 7
  if (type === 0 || type === 5) throw new ProtocolError('bad-pack', `there is no entry type ${type}`)
  let size = byte & 15
  let unit = 16
  while (byte & 0x80) {
    if (unit > 2 ** 46) throw new ProtocolError('bad-pack', 'states an impossible size')
    if (next >= end) return undefined
    byte = bytes[next++]!
    size += (byte & 0x7f) * unit
    unit *= 128
  }
  if (type === 6) return ofsHeader(bytes, at, next, entryOffset, size)
  if (type === 7) {
    if (next + 20 > end) return undefined
    return { type, size, headerBytes: next + 20 - at, baseOid: bytes.subarray(next, next + 20) }
  }
  return { type: type as EntryType, size, headerBytes: next - at }
}

function ofsHeader(bytes: Uint8Array, at: number, from: number, entryOffset: number, size: number): EntryHeader | undefined {
  let next = from
  if (next >= bytes.length) return undefined
  let byte = bytes[next++]!
  let distance = byte & 0x7f
  while (byte & 0x80) {
    if (distance > entryOffset) break
    if (next >= bytes.length) return undefined
    byte = bytes[next++]!
    distance = (distance + 1) * 128 + (byte & 0x7f)
  }
  if (distance === 0 || distance > entryOffset - packHeaderBytes) throw new ProtocolError('bad-pack', 'is a delta of something outside the pack')
  return { type: 6, size, headerBytes: next - at, baseOffset: entryOffset - distance }
}

/** Type and size as an entry begins; for deltas the reference to the base comes after it. */
export function encodeEntryHeader(type: EntryType, size: number): Buffer {
  const bytes = [(type << 4) | (size % 16)]
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1]! |= 0x80
    bytes.push(rest % 128)
  }
  return Buffer.from(bytes)
}

/** How far back, in bytes, the base of an OFS_DELTA begins before the delta's own entry. */
export function encodeOfsDistance(distance: number): Buffer {
  const bytes = [distance % 128]
  for (let rest = Math.floor(distance / 128); rest > 0; rest = Math.floor(rest / 128)) {
    rest -= 1
    bytes.unshift(0x80 | (rest % 128))
  }
  return Buffer.from(bytes)
}

/**
 * Inflates the zlib stream that begins at `at`, and says how many bytes it took. Undefined: the window ended before the stream did.
 * Never makes more than `size` + 1 bytes. With `scratch`, of `maxSimpleBytes`, small data may be in there, until it is used again.
 * @throws ProtocolError `bad-pack` when it is no zlib stream of exactly `size` bytes
 */
export function inflateEntry(window: Uint8Array, at: number, size: number, scratch?: Buffer): InflatedEntry | undefined {
  if (size <= maxSimpleBytes) {
    const data = scratch?.subarray(0, size) ?? Buffer.allocUnsafe(size)
    const consumed = inflateSimple(window, at, window.length, size, data)
    if (consumed > 0) return { data, consumed }
  }
  let inflated: { buffer: Buffer; engine: { bytesWritten: number } }
  try {
    const options = { info: true, chunkSize: Math.max(64, size + 1), maxOutputLength: size + 1 }
    inflated = inflateSync(at === 0 ? window : window.subarray(at), options) as unknown as typeof inflated
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'Z_BUF_ERROR') return undefined
    if (code === 'ERR_BUFFER_TOO_LARGE') throw new ProtocolError('bad-pack', `inflates to more than the ${size} bytes it states`, { cause: error })
    throw new ProtocolError('bad-pack', 'does not inflate', { cause: error })
  }
  const data = inflated.buffer
  if (data.length > size) throw new ProtocolError('bad-pack', `inflates to more than the ${size} bytes it states`)
  if (data.length < size) throw new ProtocolError('bad-pack', `inflates to ${data.length} bytes and not the ${size} it states`)
  return { data, consumed: inflated.engine.bytesWritten }
}
