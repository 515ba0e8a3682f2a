import { ProtocolError } from './errors.js'
import type { RefName } from './types.js'

/** How we introduce ourselves. The version is package.json's; a test holds the two together. */
export const agent = 'cairn/0.1.0'

/**
 * What a fetch may use in protocol v0 and v1. `head` is what HEAD points at, given only when that ref exists.
 * Only what works is named, because clients act on every word.
 */
export function uploadPackCapabilities(head: RefName | undefined): readonly string[] {
  return [...fetchWords, ...(head === undefined ? [] : [`symref=HEAD:${head}`]), ...identity]
}

const identity: readonly string[] = ['object-format=sha1', `agent=${agent}`]

const fetchWords: readonly string[] = [
  'multi_ack',
  'thin-pack',
  'side-band',
  'side-band-64k',
  'ofs-delta',
  'shallow',
  'deepen-since',
  'deepen-not',
  'deepen-relative',
  'no-progress',
  'include-tag',
  'multi_ack_detailed',
  'allow-tip-sha1-in-want',
  'allow-reachable-sha1-in-want',
  'no-done',
  'filter',
]

/**
 * The lines of the protocol v2 advertisement, after `version 2`. `ref-in-want` is not among them, though it is answered: git's clone sets HEAD
 * to what was listed, and fails where the branch was forced in between and its new value came instead. What was listed can be wanted anyhow.
 */
export const uploadPackCapabilitiesV2: readonly string[] = [
  `agent=${agent}`,
  'ls-refs=unborn',
  'fetch=shallow wait-for-done filter sideband-all',
  'server-option',
  'object-format=sha1',
  'object-info=size',
]

export const receivePackCapabilities: readonly string[] = [
  'report-status',
  'report-status-v2',
  'delete-refs',
  'side-band-64k',
  'quiet',
  'atomic',
  'ofs-delta',
  'push-options',
  ...identity,
]

/** What a v0 client asked for: names with their values, '' where there is none. Unknown ones are kept and mean nothing, as in git. */
export function parseCapabilities(text: string): ReadonlyMap<string, string> {
  const capabilities = new Map<string, string>()
  for (const word of text.split(/[ \n]+/)) {
    const equals = word.indexOf('=')
    if (equals > 0) capabilities.set(word.slice(0, equals), word.slice(equals + 1))
    else if (word !== '') capabilities.set(word, '')
  }
  return capabilities
}

/**
 * Passes a client that names objects by SHA-1, or says nothing, which means the same.
 * @throws ProtocolError `unsupported`
 */
export function checkObjectFormat(format: string | undefined): void {
  if (format === undefined || format === 'sha1') return
  throw new ProtocolError('unsupported', `object format ${format} is not supported: repositories here use sha1`)
}
