import { HubError } from '../errors.js'
import { compileWildmatch, type Wildmatch } from './wildmatch.js'

/** Longer files of attributes are refused where one is to be obeyed, bytes. */
export const maxAttributesBytes = 1024 * 1024
/** Git passes over longer lines, bytes. */
const maxLineBytes = 2048

/** `undefined`: says nothing about it; `null`: takes back what others say. */
interface Rule {
  readonly matches: Wildmatch
  readonly filter: string | null
}

/** The lines of one `.gitattributes` that have to do with filters, in order. */
export type AttributesFile = readonly Rule[]

/**
 * Reads a `.gitattributes`. Of all attributes only `filter` counts, set directly or through a macro of the same file.
 * @throws HubError `invalid` for a file over `maxAttributesBytes`
 *
 * Spec: gitattributes(5), "DESCRIPTION", "DEFINING MACRO ATTRIBUTES".
 */
export function parseAttributes(data: Uint8Array): AttributesFile {
  if (data.length > maxAttributesBytes) throw new HubError('invalid', `.gitattributes of ${data.length} bytes is over ${maxAttributesBytes}`)
  const macros = new Map<string, string | null>()
  const rules: Rule[] = []
  for (const line of Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8').split('\n')) {
    if (Buffer.byteLength(line) >= maxLineBytes) continue
    const { pattern, rest } = splitLine(line)
    if (pattern === undefined) continue
    const filter = filterOf(rest, macros)
    if (pattern.startsWith('[attr]')) {
      if (filter !== undefined) macros.set(pattern.slice('[attr]'.length), filter)
    } else if (filter !== undefined && !pattern.startsWith('!')) {
      rules.push({ matches: matcherOf(pattern), filter })
    }
  }
  return rules
}

function splitLine(line: string): { readonly pattern: string | undefined; readonly rest: readonly string[] } {
  const text = line.replace(/^[ \t\r]+/, '').replace(/[ \t\r]+$/, '')
  if (text === '' || text.startsWith('#')) return { pattern: undefined, rest: [] }
  const quoted = /^"((?:[^"\\]|\\.)*)"(?=[ \t\r]|$)/.exec(text)
  const length = quoted ? quoted[0].length : text.search(/[ \t\r]|$/)
  return {
    pattern: quoted ? unquote(quoted[1]!) : text.slice(0, length),
    rest: text
      .slice(length)
      .split(/[ \t\r]+/)
      .filter(Boolean),
  }
}

const escapes: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

/** A name in C's quotes. */
const unquote = (text: string): string =>
  Buffer.from(
    text
      .replace(/[^\x00-\x7f]+/g, (wide) => Buffer.from(wide).toString('latin1'))
      .replace(/\\([0-3][0-7]{2}|.)/g, (_, code: string) =>
        code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (escapes[code] ?? code),
      ),
    'latin1',
  ).toString('utf8')

/** The last word on `filter`; undefined: there is none. */
function filterOf(words: readonly string[], macros: ReadonlyMap<string, string | null>): string | null | undefined {
  let filter: string | null | undefined
  for (const word of words) {
    if (word.startsWith('filter=')) filter = word.slice('filter='.length)
    else if (/^[-!]?filter$/.test(word)) filter = null
    else if (macros.has(word)) filter = macros.get(word)
  }
  return filter
}

/** Without a slash a pattern is about names; with one it is about paths below the folder of its file. With one at its end it is about folders, which have no attributes. */
function matcherOf(pattern: string): Wildmatch {
  if (pattern.endsWith('/')) return () => false
  if (!pattern.includes('/')) {
    const matches = compileWildmatch(pattern)
    return (path) => matches(path.slice(path.lastIndexOf('/') + 1))
  }
  return compileWildmatch(pattern.replace(/^\//, ''))
}

/**
 * Whether the file at a path is one for git-lfs. `files` has the folder of each `.gitattributes`, `''` for the top: the deepest that says
 * something has the last word, and in it the last line.
 */
export function isLfsPath(path: string, files: ReadonlyMap<string, AttributesFile>): boolean {
  for (const folder of foldersOf(path)) {
    const below = folder === '' ? path : path.slice(folder.length + 1)
    const rule = files.get(folder)?.findLast(({ matches }) => matches(below))
    if (rule) return rule.filter === 'lfs'
  }
  return false
}

/** `a/b/c` → `a/b`, `a`, ``. */
export function foldersOf(path: string): string[] {
  const folders: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) folders.push(path.slice(0, at))
  return [...folders, '']
}

/** The line of the topmost `.gitattributes` that makes exactly this file one for git-lfs, as `git lfs track --filename` writes it. */
export const lfsLineFor = (path: string): string =>
  `/${path.replace(/[\\*?[\]"]/g, '\\$&').replace(/ /g, '[[:space:]]')} filter=lfs diff=lfs merge=lfs -text\n`
