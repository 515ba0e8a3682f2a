/** Longest message sent to a person, characters. */
const maxCharacters = 1_000

/**
 * One line that is safe on anybody's terminal: control characters become spaces, so nothing moves the cursor or forges a second line,
 * and what is too long is cut.
 */
export function humanLine(text: string): string {
  const line = text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
  return line.length <= maxCharacters ? line : `${line.slice(0, maxCharacters)}…`
}
