import { ProtocolError } from '../../protocol/errors.js'
import { oidFromBytes } from '../../protocol/oid.js'
import type { TreeEntry } from '../../protocol/objects/tree.js'
import type { Slices } from '../../protocol/ports.js'

/** Entries between two looks at the clock. */
const entriesAStep = 4096

/**
 * The entry of this name in a stored tree, however large, or undefined. Where a name is no UTF-8, listings show U+FFFD in place of what
 * cannot be shown: asked for by that, the first name that is shown so is meant.
 * @throws ProtocolError `corrupt` when it is not a tree
 */
export async function findTreeEntry(data: Uint8Array, name: string, slices: Slices): Promise<TreeEntry | undefined> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
  const wanted = Buffer.from(name, 'utf8')
  const isLossy = name.includes('\ufffd')
  let shownSo: TreeEntry | undefined
  for (let at = 0, count = 1; at < bytes.length; count++) {
    const space = bytes.indexOf(0x20, at)
    const end = space === -1 ? -1 : bytes.indexOf(0, space)
    if (end === -1 || end + 21 > bytes.length) throw new ProtocolError('corrupt', 'a stored tree does not read back')
    const entry = (): TreeEntry => ({
      mode: bytes.toString('latin1', at, space).replace(/^0+/, ''),
      name: bytes.toString('latin1', space + 1, end),
      oid: oidFromBytes(bytes, end + 1),
    })
    if (end - space - 1 === wanted.length && bytes.compare(wanted, 0, wanted.length, space + 1, end) === 0) return entry()
    if (isLossy && !shownSo && bytes.toString('utf8', space + 1, end) === name) shownSo = entry()
    at = end + 21
    if (count % entriesAStep === 0) await slices.pause()
  }
  return shownSo
}
