import { ProtocolError } from '../errors.js'
import { parseConfig } from './config-file.js'
import { quoteBytes } from './quote.js'

const maxFileBytes = 2 ** 20

/**
 * Refuses a `.gitmodules` that makes some version of git run a command, write where it should not, or send a password to another host;
 * and one that cannot be read to tell.
 * @throws ProtocolError `bad-object`
 */
export function checkGitmodules(data: Uint8Array): void {
  if (data.length > maxFileBytes) throw bad(`of ${data.length} bytes is over ${maxFileBytes}`)
  // Git works on C strings: behind a NUL it would see less than we do.
  if (data.includes(0)) throw bad('has a NUL byte in it')
  const { values, badLine } = parseConfig(Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1'))
  for (const { section, subsection: name, key, value } of values) {
    if (section !== 'submodule' || name === undefined) continue
    if (!isSafeName(name)) throw bad(`has the disallowed submodule name ${quote(name)}`)
    if (value === undefined) continue
    if (key === 'url' && !isSafeUrl(value)) throw bad(`has the disallowed submodule url ${quote(value)}`)
    if (key === 'path' && !isSafePath(value)) throw bad(`has the disallowed submodule path ${quote(value)}`)
    if (key === 'update' && value.startsWith('!')) throw bad(`has the disallowed submodule update setting ${quote(value)}`)
  }
  if (badLine !== undefined) throw bad(`cannot be read at line ${badLine}`)
}

const bad = (what: string): ProtocolError => new ProtocolError('bad-object', `.gitmodules ${what}`)
const quote = (latin1: string): string => quoteBytes(Buffer.from(latin1, 'latin1'))

/** The name is a directory below `.git/modules`, so it must not climb out, by the separators of any system. */
const isSafeName = (name: string): boolean => name !== '' && !name.split(/[/\\]/).includes('..')

/** A CR at the end is lost when git writes the path to a file and reads it back, and then it is another path. */
const isSafePath = (path: string): boolean => !path.startsWith('-') && !path.endsWith('\r')

/** `./` and `../` at the front. */
const relative = /^(?:\.{1,2}[/\\])+/
/** Schemes that git's own helper for HTTP and FTP answers to, also when it is named: `https::…`. */
const curl = /^(?:https?|ftps?):(?::|(?=\/\/))/i

/**
 * Git joins a relative address to that of the repository and hands the pieces to credential helpers, one a line: so there must be a host, and
 * no newline, however written.
 */
function isSafeUrl(url: string): boolean {
  if (url.startsWith('-') || decodePercents(url).includes('\n')) return false
  const climb = relative.exec(url)?.[0]
  if (climb !== undefined) return !climb.includes('..') || !/^[:/\\]/.test(url.slice(climb.length))
  const helper = curl.exec(url)
  if (helper === null) return true
  const address = helper[0].endsWith('::') ? url.slice(helper[0].length) : url
  const host = /^[^:/?#]+:\/\/(?:[^/?#]*@)?([^/?#]*)/.exec(address)?.[1]
  return host !== undefined && host !== ''
}

const decodePercents = (text: string): string => text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
