import { ProtocolError } from '../errors.js'
import { findHeaderEnd, hasKey, oidOfLine } from './header.js'
import { checkIdent } from './ident.js'
import type { Refer } from './references.js'

const treeKey = Buffer.from('tree ')
const parentKey = Buffer.from('parent ')
const authorKey = Buffer.from('author ')
const committerKey = Buffer.from('committer ')
const oidLineBytes = 41

/**
 * Judges a commit: its tree, its parents, one author, one committer, in this order; then whatever other headers; no NUL anywhere.
 * @throws ProtocolError `bad-object`
 */
export function checkCommit(data: Uint8Array, refer: Refer): void {
  const end = findHeaderEnd(data, 'commit')
  if (data.indexOf(0, end) !== -1) throw bad('has a NUL byte in its message')
  if (!hasKey(data, 0, treeKey)) throw bad("does not begin with a 'tree' line")
  let at = treeKey.length
  refer(oidOfLine(data, at, 'the tree of the commit'), 0, 2)
  at += oidLineBytes
  while (at < end && hasKey(data, at, parentKey)) {
    at += parentKey.length
    refer(oidOfLine(data, at, 'a parent of the commit'), 0, 1)
    at += oidLineBytes
  }
  if (at >= end || !hasKey(data, at, authorKey)) throw bad("has no 'author' line where it belongs")
  at = checkIdent(data, at + authorKey.length, 'author')
  if (at < end && hasKey(data, at, authorKey)) throw bad("has more than one 'author' line")
  if (at >= end || !hasKey(data, at, committerKey)) throw bad("has no 'committer' line where it belongs")
  checkIdent(data, at + committerKey.length, 'committer')
}

const bad = (what: string): ProtocolError => new ProtocolError('bad-object', `commit ${what}`)
