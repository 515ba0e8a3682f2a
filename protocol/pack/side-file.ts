import { hash } from 'node:crypto'
import { ProtocolError } from '../errors.js'

/** What git writes beside packs ends in the SHA-1 of all before. */
export const checksumBytes = 20
/** A file beside a pack is one buffer: 50,000,000 objects in the widest of them. */
export const maxSideFileBytes = 2 ** 31 - 1

/**
 * An empty file of so many bytes.
 * @throws ProtocolError `too-large`
 */
export function allocateSideFile(bytes: number, what: string): Buffer {
  if (bytes > maxSideFileBytes) throw new ProtocolError('too-large', `${what} of ${bytes} bytes is over the limit of ${maxSideFileBytes}`)
  return Buffer.alloc(bytes)
}

/** Fills the last 20 bytes. */
export function sealSideFile(file: Buffer): Buffer {
  file.set(checksumOf(file), file.length - checksumBytes)
  return file
}

/** True when the last 20 bytes are the SHA-1 of all before. */
export function isSealed(file: Uint8Array): boolean {
  return file.length >= checksumBytes && checksumOf(file).equals(file.subarray(file.length - checksumBytes))
}

const checksumOf = (file: Uint8Array): Buffer => hash('sha1', file.subarray(0, file.length - checksumBytes), 'buffer')

/** Writes numbers of 32 bits, high byte first, from byte `at` on. */
export function writeWords(file: Buffer, at: number, words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) file.writeUInt32BE(words[i]!, at + i * 4)
}

/** `count` numbers of 32 bits that begin at byte `at`, high byte first. */
export function readWords(file: Uint8Array, at: number, count: number): Uint32Array {
  const words = new Uint32Array(count)
  const bytes = Buffer.from(words.buffer)
  bytes.set(file.subarray(at, at + count * 4))
  bytes.swap32()
  return words
}
