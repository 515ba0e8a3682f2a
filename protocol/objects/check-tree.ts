import { ProtocolError } from '../errors.js'
import { isDotGit, isDotGitattributes, isDotGitmodules } from './dot-git-names.js'
import { quoteBytes } from './quote.js'
import type { Refer, Special } from './references.js'

/** Most entries of one tree. */
export const maxTreeEntries = 1_000_000
/** Longest name of an entry: what every file system of consequence takes. */
export const maxNameBytes = 255

/** All but the permissions: what is above 16 bits is of no type either. */
const fileType = ~0o7777
const regular = 0o100000
const symlink = 0o120000
const directory = 0o040000
const gitlink = 0o160000
const maxModeDigits = 7

const slash = 0x2f
const nameHasSlash = 1
const nameHasBackslash = 2
/** What to remember of a name for each byte in it. */
const byteMarks = new Uint8Array(256)
byteMarks[slash] = nameHasSlash
byteMarks[0x5c] = nameHasBackslash

/** First bytes of all names that a file system might take for `.git` and its like: a dot, a short name (even `~1234567`), an ignored code point. */
const suspicious = new Uint8Array(256)
for (const byte of [0x2e, 0x67, 0x47, 0x7e, 0xe2, 0xef]) suspicious[byte] = 1

/** Files that a directory of the same name may still follow: pairs of start and end. Kept between calls, so that it is not allocated anew. */
const candidates: number[] = []

/**
 * Judges a tree and tells of what it names. Big imports bring tens of millions of entries through here: bytes are compared where
 * they lie, and only names that begin like `.git` and its short names are looked at twice.
 * @throws ProtocolError `bad-object`
 */
export function checkTree(data: Uint8Array, refer: Refer, special: Special): void {
  const length = data.length
  let entries = 0
  let at = 0
  let lastStart = -1
  let lastEnd = -1
  let lastMode = 0
  candidates.length = 0
  while (at < length) {
    entries += 1
    if (entries > maxTreeEntries) throw bad(`has more than ${maxTreeEntries} entries`)

    const modeStart = at
    let mode = 0
    for (;;) {
      const digit = at < length ? data[at++]! - 0x30 : -1
      if (digit === -0x10) break
      if (digit < 0 || digit > 7 || at - modeStart > maxModeDigits) throw bad(`entry ${entries} has a mode that is not octal digits and a space`)
      mode = (mode << 3) | digit
    }

    const start = at
    let marks = 0
    let byte = -1
    while (at < length && (byte = data[at]!) !== 0) {
      marks |= byteMarks[byte]!
      at += 1
    }
    const end = at
    const oid = at + 1
    at = oid + 20
    if (at > length) throw bad(`is cut off in entry ${entries}`)
    if (end === start) throw bad('contains an empty name')
    if (end - start > maxNameBytes) throw bad(`contains a name of ${end - start} bytes, over ${maxNameBytes}: ${quoteBytes(data, start, end)}`)
    if ((marks & nameHasSlash) !== 0) throw bad(`contains a name with a slash: ${quoteBytes(data, start, end)}`)
    if (marks !== 0 || suspicious[data[start]!] === 1) checkName(data, start, end, mode, oid, special)
    if (data[oid] === 0 && isNull(data, oid)) throw bad(`entry ${quoteBytes(data, start, end)} has the null object id`)

    const type = mode & fileType
    if (type === regular || mode === symlink) refer(data, oid, 4)
    else if (mode === directory) refer(data, oid, 2)
    else if (mode !== gitlink) throw bad(`entry ${quoteBytes(data, start, end)} has mode ${mode.toString(8)}`)

    if (lastStart !== -1) checkOrder(data, lastStart, lastEnd, lastMode, start, end, mode)
    lastStart = start
    lastEnd = end
    lastMode = mode
  }
}

const bad = (what: string): ProtocolError => new ProtocolError('bad-object', `tree ${what}`)

function isNull(data: Uint8Array, oid: number): boolean {
  for (let i = 0; i < 20; i++) if (data[oid + i] !== 0) return false
  return true
}

/** Names that some file system may take for another. */
function checkName(data: Uint8Array, start: number, end: number, mode: number, oid: number, special: Special): void {
  if (data[start] === 0x2e && (end === start + 1 || (end === start + 2 && data[start + 1] === 0x2e))) {
    throw bad(`contains entry named ${quoteBytes(data, start, end)}`)
  }
  if (isDotGit(data, start, end)) throw bad(`contains entry named .git: ${quoteBytes(data, start, end)}`)
  if (isDotGitmodules(data, start, end)) {
    if (mode === symlink) throw bad(`contains a .gitmodules that is a symbolic link: ${quoteBytes(data, start, end)}`)
    if ((mode & fileType) !== regular) throw bad(`contains a .gitmodules that is not a file: ${quoteBytes(data, start, end)}`)
    special('gitmodules', data, oid)
  }
  // A link is harmless here: git does not follow it. And `~1234567` may stand for both.
  if (isDotGitattributes(data, start, end) && mode !== symlink) {
    if ((mode & fileType) !== regular) throw bad(`contains a .gitattributes that is not a file: ${quoteBytes(data, start, end)}`)
    special('gitattributes', data, oid)
  }
}

/**
 * Names ascend by bytes, a directory's as if it ended in a slash. So the file `a` and the directory `a`, which no checkout can hold both,
 * need not be neighbours: `a.b` sorts between them. Files that a longer name with a byte below the slash follows are candidates for that.
 */
function checkOrder(data: Uint8Array, start1: number, end1: number, mode1: number, start2: number, end2: number, mode2: number): void {
  let at1 = start1
  let at2 = start2
  while (at1 < end1 && at2 < end2) {
    const difference = data[at1]! - data[at2]!
    if (difference < 0) return
    if (difference > 0) throw unsorted(data, start2, end2)
    at1 += 1
    at2 += 1
  }
  if (at1 === end1 && at2 === end2) throw duplicate(data, start2, end2)
  const next1 = at1 < end1 ? data[at1]! : mode1 === directory ? slash : 0
  const next2 = at2 < end2 ? data[at2]! : mode2 === directory ? slash : 0
  if (next1 === 0) {
    if (next2 < slash) candidates.push(start1, end1)
  } else if (next2 === slash && next1 < slash) {
    checkCandidates(data, start2, end2)
  }
  if (next1 >= next2) throw unsorted(data, start2, end2)
}

/** A directory against the files before it. What is no beginning of its name cannot come back, so it leaves the stack. */
function checkCandidates(data: Uint8Array, start: number, end: number): void {
  while (candidates.length > 0) {
    const fileEnd = candidates.pop()!
    const fileStart = candidates.pop()!
    const length = fileEnd - fileStart
    if (length > end - start) continue
    let same = 0
    while (same < length && data[fileStart + same] === data[start + same]) same += 1
    if (same < length) continue
    if (length === end - start) throw duplicate(data, start, end)
    if (data[start + length]! >= slash) continue
    candidates.push(fileStart, fileEnd)
    return
  }
}

const unsorted = (data: Uint8Array, start: number, end: number): ProtocolError => bad(`is not sorted at entry ${quoteBytes(data, start, end)}`)
const duplicate = (data: Uint8Array, start: number, end: number): ProtocolError => bad(`contains entry ${quoteBytes(data, start, end)} twice`)
