import type { ObjectTypeName, Oid } from '../types.js'
import { checkTag } from './check-tag.js'
import { findHeaderEnd } from './header.js'
import { encodeIdent, parseIdent, type Ident } from './ident.js'
import { decodeText, encodeHeaders, parseHeaders, type Header } from './object-text.js'

/** An annotated tag. */
export interface Tag {
  readonly object: Oid
  readonly type: ObjectTypeName
  readonly tag: string
  /** Tags from before July 2005 have none. */
  readonly tagger?: Ident
  /** Other headers in order. */
  readonly headers?: readonly Header[]
  /** Everything behind the empty line, with the signature, if there is one; usually ending in a newline. */
  readonly message: string
}

/**
 * Reads a tag that `checkObject` passed. Bytes that are no UTF-8 become U+FFFD.
 * @throws ProtocolError `bad-object`
 */
export function parseTag(data: Uint8Array): Tag {
  checkTag(data, () => {})
  const end = findHeaderEnd(data, 'tag')
  const [object, type, tag, ...rest] = parseHeaders(data, end)
  const text = (latin1: string): string => decodeText(Buffer.from(latin1, 'latin1'))
  const tagger = rest[0]?.key === 'tagger' ? rest.shift() : undefined
  return {
    object: object!.value as Oid,
    type: type!.value as ObjectTypeName,
    tag: text(tag!.value),
    ...(tagger && { tagger: parseIdent(text(tagger.value)) }),
    ...(rest.length > 0 && { headers: rest.map(({ key, value }) => ({ key: text(key), value: text(value) })) }),
    message: decodeText(data.subarray(end + 1)),
  }
}

/**
 * The bytes of a tag.
 * @throws ProtocolError `bad-object`
 */
export function encodeTag({ object, type, tag, tagger, headers = [], message }: Tag): Buffer {
  const header = encodeHeaders([
    { key: 'object', value: object },
    { key: 'type', value: type },
    { key: 'tag', value: tag },
    ...(tagger ? [{ key: 'tagger', value: encodeIdent(tagger) }] : []),
    ...headers,
  ])
  const data = Buffer.from(`${header}\n${message}`)
  checkTag(data, () => {})
  return data
}
