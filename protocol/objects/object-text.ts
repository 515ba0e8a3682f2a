import { ProtocolError } from '../errors.js'

/** A line of a commit or tag before its message. Further lines of a value begin with a space in the object, and without one here. */
export interface Header {
  readonly key: string
  readonly value: string
}

/** The headers up to `end`, one character a byte. */
export function parseHeaders(data: Uint8Array, end: number): Header[] {
  const text = Buffer.from(data.buffer, data.byteOffset, end).toString('latin1')
  return text
    .slice(0, -1)
    .split(/\n(?! )/)
    .map((line) => {
      const space = line.search(/[ \n]|$/)
      return { key: line.slice(0, space), value: line.slice(space + 1).replaceAll('\n ', '\n') }
    })
}

/** @throws ProtocolError `bad-object` */
export function encodeHeaders(headers: readonly Header[]): string {
  return headers
    .map(({ key, value }) => {
      if (!/^[!-~]+$/.test(key)) throw new ProtocolError('bad-object', `${JSON.stringify(key)} is not the name of a header`)
      return `${key} ${value.replaceAll('\n', '\n ')}\n`
    })
    .join('')
}

const latin1Names = /^(iso-?8859-?1|latin-?1)$/i
const utf8Names = /^utf-?8$/i

/** Text in the charset that a commit names; in UTF-8 when nobody knows it. */
export function decodeText(bytes: Uint8Array, charset = 'utf-8'): string {
  if (latin1Names.test(charset)) return Buffer.from(bytes).toString('latin1')
  try {
    return new TextDecoder(charset, { ignoreBOM: true }).decode(bytes)
  } catch {
    return Buffer.from(bytes).toString('utf8')
  }
}

/** @throws ProtocolError `unsupported` */
export function encodeText(text: string, charset = 'utf-8'): Buffer {
  if (utf8Names.test(charset)) return Buffer.from(text, 'utf8')
  if (latin1Names.test(charset) && !/[^\0-\xff]/.test(text)) return Buffer.from(text, 'latin1')
  throw new ProtocolError('unsupported', `this text cannot be written in ${JSON.stringify(charset)}`)
}
