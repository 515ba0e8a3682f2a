const maxQuotedBytes = 100

/**
 * Bytes of a stranger for an error message: as UTF-8 in double quotes, cut after 100 bytes, everything invisible written as an escape,
 * so that a `.git` with a zero-width joiner in it shows what it is.
 */
export function quoteBytes(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const shown = Buffer.from(bytes.subarray(start, Math.min(end, start + maxQuotedBytes))).toString('utf8')
  const quoted = JSON.stringify(shown).replace(/[\p{C}\u2028\u2029]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
  return end - start > maxQuotedBytes ? `${quoted}…` : quoted
}
