/** Longer names are cut, characters. Clients take the name from the address anyway. */
const maxNameLength = 255

/**
 * `Content-Disposition` for a file of any name: for clients that read UTF-8 and for those that do not. The semicolon at the end is for a
 * client that looks for it.
 *
 * Spec: RFC 6266; RFC 8187 for `filename*`.
 */
export function contentDisposition(kind: 'inline' | 'attachment', fileName: string): string {
  const name = Array.from(fileName.toWellFormed()).slice(0, maxNameLength).join('')
  return `${kind}; filename*=UTF-8''${extendedValue(name)}; filename="${asciiName(name)}";`
}

const extendedValue = (name: string): string =>
  encodeURIComponent(name).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** Nothing that a parser could take for the end of the value, or for an escape: what is not plain is a question mark or an underscore. */
const asciiName = (name: string): string => name.replace(/[^\x20-\x7e]/gu, '?').replace(/["\\%]/g, '_')
