import { ProtocolError } from '../errors.js'
import { isOid } from '../oid.js'
import type { Oid } from '../types.js'
import { checkCommit } from './check-commit.js'
import { findHeaderEnd } from './header.js'
import { encodeIdent, maxSeconds, parseIdent, type Ident } from './ident.js'
import { decodeText, encodeText, encodeHeaders, parseHeaders, type Header } from './object-text.js'

export type { Ident } from './ident.js'

export interface Commit {
  readonly tree: Oid
  readonly parents: readonly Oid[]
  readonly author: Ident
  readonly committer: Ident
  /** Everything behind the empty line, usually ending in a newline. */
  readonly message: string
  /** Charset of names and message as the commit states it; UTF-8 when absent. */
  readonly encoding?: string
  /** Other headers in order, such as `gpgsig`; values of several lines have newlines in them. */
  readonly headers?: readonly Header[]
}

/**
 * Reads a commit that `checkObject` passed; odd old ones with gaps filled. Bytes that are not of its charset become U+FFFD.
 * @throws ProtocolError `bad-object`
 */
export function parseCommit(data: Uint8Array): Commit {
  checkCommit(data, () => {})
  const end = findHeaderEnd(data, 'commit')
  const lines = parseHeaders(data, end)
  const encoding = lines.find(({ key }) => key === 'encoding')?.value
  const text = (latin1: string): string => decodeText(Buffer.from(latin1, 'latin1'), encoding)
  const afterParents = lines.findIndex(({ key }) => key === 'author')
  const parents = lines.slice(1, afterParents)
  const [author, committer, ...rest] = lines.slice(afterParents)
  const headers = rest.filter(({ key }) => key !== 'encoding').map(({ key, value }) => ({ key, value: text(value) }))
  return {
    tree: lines[0]!.value as Oid,
    parents: parents.map(({ value }) => value as Oid),
    author: parseIdent(text(author!.value)),
    committer: parseIdent(text(committer!.value)),
    message: decodeText(data.subarray(end + 1), encoding),
    ...(encoding !== undefined && { encoding }),
    ...(headers.length > 0 && { headers }),
  }
}

/**
 * The bytes of a commit.
 * @throws ProtocolError `bad-object` for what git would refuse, `unsupported` for a charset other than UTF-8 and ISO-8859-1
 */
export function encodeCommit(commit: Commit): Buffer {
  const { tree, parents, author, committer, message, encoding, headers = [] } = commit
  const header = encodeHeaders([
    { key: 'tree', value: tree },
    ...parents.map((value) => ({ key: 'parent', value })),
    { key: 'author', value: encodeIdent(author) },
    { key: 'committer', value: encodeIdent(committer) },
    ...(encoding === undefined ? [] : [{ key: 'encoding', value: encoding }]),
    ...headers,
  ])
  const data = encodeText(`${header}\n${message}`, encoding)
  checkCommit(data, () => {})
  return data
}

export interface CommitLinks {
  readonly tree: Oid
  readonly parents: Oid[]
  /** When it was committed, since 1970; 0 when it does not say. */
  readonly seconds: number
}

const oidLine = { tree: 'tree '.length + 41, parent: 'parent '.length + 41 }
const committerLine = Buffer.from('\ncommitter ')
const newline = 0x0a

/**
 * What a walk needs of a stored commit, and nothing looked at beyond that.
 * @throws ProtocolError `corrupt`
 */
export function commitLinks(data: Uint8Array): CommitLinks {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
  const tree = bytes.toString('latin1', 5, 45)
  if (!isOid(tree) || bytes.toString('latin1', 0, 5) !== 'tree ' || bytes[45] !== newline)
    throw new ProtocolError('corrupt', 'a stored commit has no tree')
  const parents: Oid[] = []
  let at = oidLine.tree
  for (; bytes[at] === 0x70 && bytes.toString('latin1', at, at + 7) === 'parent '; at += oidLine.parent) {
    const parent = bytes.toString('latin1', at + 7, at + 47)
    if (!isOid(parent) || bytes[at + 47] !== newline) throw new ProtocolError('corrupt', 'a stored commit has a parent that is none')
    parents.push(parent)
  }
  return { tree, parents, seconds: committedAt(bytes, at - 1) }
}

/** The number behind the last `>` of the committer's line. */
function committedAt(bytes: Buffer, from: number): number {
  const line = bytes.indexOf(committerLine, from)
  if (line === -1) return 0
  const end = bytes.indexOf(newline, line + 1)
  let at = bytes.lastIndexOf(0x3e, end === -1 ? bytes.length : end) + 1
  if (at <= line) return 0
  while (bytes[at] === 0x20) at += 1
  let seconds = 0
  for (let byte; (byte = bytes[at]!) >= 0x30 && byte <= 0x39 && seconds < maxSeconds; at++) seconds = seconds * 10 + byte - 0x30
  return Math.min(seconds, maxSeconds)
}
