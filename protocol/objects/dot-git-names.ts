/**
 * Names that some file system takes for one that git itself acts upon. macOS (HFS+) ignores certain code points and case; Windows (NTFS)
 * ignores case and trailing dots and spaces, reads `name:stream` as `name`, takes a backslash for a separator and knows files by
 * short names such as `git~1` as well. Names are byte ranges of a tree.
 */

/** What git acts upon, without the dot, with the letters Windows falls back to when `gitmod~1` to `gitmod~4` are taken. */
interface DotName {
  readonly letters: Uint8Array
  readonly fallback: Uint8Array
}

const git = Buffer.from('git')
const gitmodules: DotName = { letters: Buffer.from('gitmodules'), fallback: Buffer.from('gi7eba') }
const gitattributes: DotName = { letters: Buffer.from('gitattributes'), fallback: Buffer.from('gi7d29') }

const dot = 0x2e
const space = 0x20
const tilde = 0x7e
const colon = 0x3a
const slash = 0x2f
const backslash = 0x5c
const one = 0x31

const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte)
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39

/** Whether a checkout could write the name, or what follows a backslash in it, as `.git`. */
export function isDotGit(bytes: Uint8Array, start: number, end: number): boolean {
  if (isHfsName(bytes, start, end, git)) return true
  for (let at = start; at < end; at = afterBackslash(bytes, at, end)) if (isNtfsDotGit(bytes, at, end)) return true
  return false
}

export const isDotGitmodules = (bytes: Uint8Array, start: number, end: number): boolean => isDotName(bytes, start, end, gitmodules)

export const isDotGitattributes = (bytes: Uint8Array, start: number, end: number): boolean => isDotName(bytes, start, end, gitattributes)

function isDotName(bytes: Uint8Array, start: number, end: number, name: DotName): boolean {
  if (isHfsName(bytes, start, end, name.letters)) return true
  for (let at = start; at < end; at = afterBackslash(bytes, at, end)) if (isNtfsName(bytes, at, end, name)) return true
  return false
}

/** Not `indexOf`: that would search the rest of the tree for every name. */
function afterBackslash(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) if (bytes[at++] === backslash) break
  return at
}

/** `.git` or `git~1`, then nothing but dots and spaces up to the end, a separator or a stream. */
function isNtfsDotGit(bytes: Uint8Array, start: number, end: number): boolean {
  let at: number
  if (end - start >= 4 && bytes[start] === dot && matches(bytes, start + 1, git, 3)) at = start + 4
  else if (end - start >= 5 && matches(bytes, start, git, 3) && bytes[start + 3] === tilde && bytes[start + 4] === one) at = start + 5
  else return false
  for (; at < end; at++) {
    const byte = bytes[at]!
    if (byte === backslash || byte === slash || byte === colon) return true
    if (byte !== dot && byte !== space) return false
  }
  return true
}

function isNtfsName(bytes: Uint8Array, start: number, end: number, { letters, fallback }: DotName): boolean {
  const length = end - start
  if (length > letters.length && bytes[start] === dot && matches(bytes, start + 1, letters, letters.length)) {
    return endsThere(bytes, start + 1 + letters.length, end)
  }
  if (length < 8) return false
  if (matches(bytes, start, letters, 6) && bytes[start + 6] === tilde && bytes[start + 7]! >= one && bytes[start + 7]! <= 0x34) {
    return endsThere(bytes, start + 8, end)
  }
  // The longer the number, the fewer letters are kept: gi7eba~1, gi7eb~12, … ~1234567.
  let at = 0
  while (at < 6 && lower(bytes[start + at]!) === fallback[at]) at += 1
  if (bytes[start + at] !== tilde || bytes[start + at + 1]! < one) return false
  for (at += 1; at < 8; at++) if (!isDigit(bytes[start + at]!)) return false
  return endsThere(bytes, start + 8, end)
}

/** Nothing but dots and spaces up to the end or a stream. */
function endsThere(bytes: Uint8Array, at: number, end: number): boolean {
  for (; at < end; at++) {
    const byte = bytes[at]!
    if (byte === colon) return true
    if (byte !== dot && byte !== space) return false
  }
  return true
}

/** A dot and the letters, in any case, with ignored code points anywhere. Bytes that are no UTF-8 end the name, as in git. */
function isHfsName(bytes: Uint8Array, start: number, end: number, letters: Uint8Array): boolean {
  let at = skipIgnored(bytes, start, end)
  if (bytes[at] !== dot || at >= end) return false
  for (const letter of letters) {
    at = skipIgnored(bytes, at + 1, end)
    if (at >= end || lower(bytes[at]!) !== letter) return false
  }
  at = skipIgnored(bytes, at + 1, end)
  return at >= end || bytes[at] === slash || !isUtf8At(bytes, at, end)
}

/** U+200C–200F, U+202A–202E, U+206A–206F and U+FEFF. */
function skipIgnored(bytes: Uint8Array, at: number, end: number): number {
  for (; at + 2 < end; at += 3) {
    const last = bytes[at + 2]!
    if (bytes[at] === 0xe2 && bytes[at + 1] === 0x80) {
      if (!((last >= 0x8c && last <= 0x8f) || (last >= 0xaa && last <= 0xae))) return at
    } else if (bytes[at] === 0xe2 && bytes[at + 1] === 0x81) {
      if (last < 0xaa || last > 0xaf) return at
    } else if (bytes[at] !== 0xef || bytes[at + 1] !== 0xbb || last !== 0xbf) return at
  }
  return at
}

/** Whether a whole character starts at `at`, by git's idea of UTF-8: no surrogates, no overlong forms, neither U+FFFE nor U+FFFF. */
function isUtf8At(bytes: Uint8Array, at: number, end: number): boolean {
  const [first, second = 0, third = 0] = bytes.subarray(at, end)
  if (first === undefined || first < 0x80) return true
  const length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0
  if (length === 0 || at + length > end) return false
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return false
  if (first === 0xe0) return second >= 0xa0
  if (first === 0xed) return second < 0xa0
  if (first === 0xef) return second !== 0xbf || third < 0xbe
  if (first === 0xf0) return second >= 0x90
  return first !== 0xf4 || second < 0x90
}

function matches(bytes: Uint8Array, start: number, letters: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (lower(bytes[start + i]!) !== letters[i]) return false
  return true
}
