import { ProtocolError } from '../../protocol/errors.js'
import { encodeTree } from '../../protocol/objects/tree.js'
import type { Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'

const maxPathBytes = 4096
const maxDepth = 64
/** Control characters, and those that make a name look like another: what else is on the line, or its direction. */
const unprintable = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/
const anyOid = '1'.repeat(40) as Oid

/**
 * Where an uploaded file goes: the folder that was asked for, and the name or path its sender gives it. Both are somebody's word; what no
 * checkout could hold, or would be taken for something else, is refused and never mended.
 * @throws HubError `invalid` that names the path
 */
export function parseUploadPath(folder: string, name: string): string {
  const path = [folder.replace(/^[ /]+|[ /]+$/g, ''), name].filter((part) => part !== '').join('/')
  const complaint = name === '' ? 'a file has no name' : complainAbout(path)
  if (complaint !== undefined) throw new HubError('invalid', `${JSON.stringify(path.slice(0, 200))} cannot be the path of a file: ${complaint}`)
  return path
}

function complainAbout(path: string): string | undefined {
  if (Buffer.byteLength(path) > maxPathBytes) return `it has over ${maxPathBytes} bytes`
  if (!path.isWellFormed() || path.includes('\ufffd')) return 'it is not UTF-8'
  if (unprintable.test(path)) return 'it has control characters'
  if (path.includes('\\')) return 'it has a backslash'
  const names = path.split('/')
  if (names.length > maxDepth) return `it is deeper than ${maxDepth} folders`
  if (names.includes('')) return 'it begins or ends with a slash, or has two in a row'
  for (const [depth, entry] of names.entries()) {
    try {
      // The judge of what is pushed.
      encodeTree([{ mode: depth === names.length - 1 ? '100644' : '40000', name: Buffer.from(entry, 'utf8').toString('latin1'), oid: anyOid }])
    } catch (error) {
      if (error instanceof ProtocolError) return error.message
      throw error
    }
  }
  return undefined
}
