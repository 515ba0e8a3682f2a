import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import type { ObjectFilter } from './ports.js'

/** What is not asked to be left out. */
export const wholeFilter: ObjectFilter = { blobBytes: Number.POSITIVE_INFINITY, treeDepth: Number.POSITIVE_INFINITY }

/** `combine:` within `combine:`, and parts of one: far more than make sense. */
const maxNesting = 8
const maxParts = 32
/** git wants these escaped in a part of `combine:`, and letters above ASCII may come either way. */
const reserved = /[~`!@#$^&*()[\]{}\\;'",<>?\x00-\x20]/
const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/**
 * A filter of a partial clone: `blob:none`, `blob:limit=<bytes>[kmg]`, `tree:<depth>`, and any of them together as `combine:a+b`.
 *
 * Spec: git-rev-list(1), `--filter`; gitprotocol-v2(5), "fetch".
 * @throws ProtocolError `unsupported` for filters git has and we have not, and for what is none
 */
export function parseFilter(spec: string): ObjectFilter {
  return parse(spec, 0) ?? refuse(spec)
}

function refuse(spec: string): never {
  throw new ProtocolError('unsupported', `filter '${humanLine(spec.slice(0, 200))}' not supported`)
}

function parse(spec: string, nesting: number): ObjectFilter | undefined {
  if (spec === 'blob:none') return { ...wholeFilter, blobBytes: 0 }
  const [, name, value = ''] = /^(blob:limit=|tree:|combine:)(.*)$/s.exec(spec) ?? []
  if (name === 'combine:') return parseCombined(value, nesting)
  const number = parseNumber(value)
  if (number === undefined) return undefined
  if (name === 'blob:limit=') return { ...wholeFilter, blobBytes: number }
  return name === 'tree:' ? { ...wholeFilter, treeDepth: number } : undefined
}

/** Every part has to let an object through: which comes to the least of each bound. */
function parseCombined(text: string, nesting: number): ObjectFilter | undefined {
  const parts = text.split('+')
  if (nesting >= maxNesting || parts.length > maxParts) return undefined
  let filter = wholeFilter
  for (const part of parts) {
    const spec = decodePart(part)
    const parsed = spec === undefined ? undefined : parse(spec, nesting + 1)
    if (!parsed) return undefined
    filter = { blobBytes: Math.min(filter.blobBytes, parsed.blobBytes), treeDepth: Math.min(filter.treeDepth, parsed.treeDepth) }
  }
  return filter
}

function decodePart(part: string): string | undefined {
  if (reserved.test(part) || /%(?![0-9a-fA-F]{2})/.test(part)) return undefined
  return part.replaceAll(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function parseNumber(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,15})([kmg]?)$/i.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * units[unit.toLowerCase()]!
}
