import { ProtocolError } from '../errors.js'

const maxFileBytes = 100 * 2 ** 20
/** Git reads lines shorter than this. */
const lineLimitBytes = 2048
const newline = 0x0a

/**
 * Refuses a `.gitattributes` that older git reads past its end.
 * @throws ProtocolError `bad-object`
 */
export function checkGitattributes(data: Uint8Array): void {
  if (data.length > maxFileBytes) throw new ProtocolError('bad-object', `.gitattributes of ${data.length} bytes is over ${maxFileBytes}`)
  for (let at = 0, line = 1; at < data.length; line++) {
    const found = data.indexOf(newline, at)
    const end = found === -1 ? data.length : found
    if (end - at >= lineLimitBytes)
      throw new ProtocolError('bad-object', `.gitattributes has ${end - at} bytes in line ${line}, over ${lineLimitBytes - 1}`)
    at = end + 1
  }
}
