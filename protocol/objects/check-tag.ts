import { ProtocolError } from '../errors.js'
import { objectTypes } from '../types.js'
import { findHeaderEnd, hasKey, oidOfLine } from './header.js'
import { checkIdent } from './ident.js'
import { quoteBytes } from './quote.js'
import type { Refer } from './references.js'

const objectKey = Buffer.from('object ')
const typeKey = Buffer.from('type ')
const tagKey = Buffer.from('tag ')
const taggerKey = Buffer.from('tagger ')
const oidLineBytes = 41
const newline = 0x0a

/**
 * Judges a tag: object, type, name, and a tagger unless it is too old to have one. The name may be odd; the ref is what counts.
 * @throws ProtocolError `bad-object`
 */
export function checkTag(data: Uint8Array, refer: Refer): void {
  const end = findHeaderEnd(data, 'tag')
  if (!hasKey(data, 0, objectKey)) throw bad("does not begin with an 'object' line")
  const oid = oidOfLine(data, objectKey.length, 'the object of the tag')
  let at = objectKey.length + oidLineBytes
  if (at >= end || !hasKey(data, at, typeKey)) throw bad("has no 'type' line where it belongs")
  at += typeKey.length
  const typeEnd = data.indexOf(newline, at)
  const mask = typeMask(data, at, typeEnd)
  if (mask === 0) throw bad(`has an object of the unknown type ${quoteBytes(data, at, typeEnd)}`)
  refer(oid, 0, mask)
  at = typeEnd + 1
  if (at >= end || !hasKey(data, at, tagKey)) throw bad("has no 'tag' line where it belongs")
  at = data.indexOf(newline, at) + 1
  if (at < end && hasKey(data, at, taggerKey)) checkIdent(data, at + taggerKey.length, 'tagger')
}

const bad = (what: string): ProtocolError => new ProtocolError('bad-object', `tag ${what}`)

const typeNames = Object.entries(objectTypes).map(([name, type]) => ({ name: Buffer.from(name), mask: 1 << (type - 1) }))

function typeMask(data: Uint8Array, start: number, end: number): number {
  return typeNames.find(({ name }) => name.length === end - start && hasKey(data, start, name))?.mask ?? 0
}
