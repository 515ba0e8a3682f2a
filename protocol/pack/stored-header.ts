import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import { packOf, type Entry, type PackView } from '../ports.js'
import { decodeEntryHeader, type EntryHeader } from './entry.js'
import type { ReadWindow } from './read-window.js'

/**
 * The header of an entry that stands in the window, whose bytes are there up to `end`. The table and the pack must agree before anything goes out.
 * @throws ProtocolError `corrupt`
 */
export function storedHeader(view: PackView, window: ReadWindow, entry: Entry, end: number): EntryHeader {
  const from = view.offsetOf(entry)
  if (!window.has(packOf(entry), from, end)) throw corruptObject(view, entry, 'is cut off')
  let header: EntryHeader | undefined
  try {
    header = decodeEntryHeader(window.bytes, from - window.from, from)
  } catch (error) {
    throw corruptObject(view, entry, (error as Error).message, error)
  }
  if (!header || from + header.headerBytes > end) throw corruptObject(view, entry, 'is cut off')
  const base = view.baseOf(entry)
  let agrees: boolean
  if (base === -1) agrees = header.type === view.typeOf(entry) && header.size === view.sizeOf(entry)
  else if (header.baseOid) agrees = nameOf(view, base).equals(header.baseOid)
  else agrees = header.baseOffset === view.offsetOf(base)
  if (!agrees) throw corruptObject(view, entry, 'is stored as something else than its table says')
  return header
}

export function corruptObject(view: PackView, entry: Entry, what: string, cause?: unknown): ProtocolError {
  return new ProtocolError('corrupt', `object ${oidFromBytes(nameOf(view, entry))} ${what}`, { cause })
}

function nameOf(view: PackView, entry: Entry): Buffer {
  const oid = Buffer.alloc(20)
  view.oidOf(entry, oid)
  return oid
}
