import { ProtocolError } from '../errors.js'
import { isOid, oidFromBytes } from '../oid.js'
import type { Oid } from '../types.js'
import { checkTree } from './check-tree.js'
import { quoteBytes } from './quote.js'

/** One line of a tree. */
export interface TreeEntry {
  /**
   * Octal without leading zeros: `100644` a file, `100755` an executable one, `120000` a symbolic link, `40000` a directory,
   * `160000` a submodule. Old histories have other files, such as `100664`.
   */
  readonly mode: string
  /** One character a byte (latin1), because git promises no encoding. */
  readonly name: string
  /** Of a blob, a tree, or a submodule's commit. */
  readonly oid: Oid
}

/** Told of an entry: its mode as a number, the range of its name, and where its 20 bytes of oid begin. */
export type VisitTreeEntry = (mode: number, nameStart: number, nameEnd: number, oidOffset: number) => void

/** What an entry's mode says it is; a submodule's commit lives in another repository. */
export const entryKinds = { mask: 0o170000, directory: 0o40000, submodule: 0o160000 } as const

const space = 0x20

export const corruptTree = (): ProtocolError => new ProtocolError('corrupt', 'a stored tree does not read back')

/**
 * Calls `visit` for every entry of a stored tree, in order. Allocates nothing.
 * @throws ProtocolError `corrupt`
 */
export function eachTreeEntry(data: Uint8Array, visit: VisitTreeEntry): void {
  let at = 0
  while (at < data.length) {
    let mode = 0
    let byte: number | undefined
    while ((byte = data[at++]) !== space) {
      if (byte === undefined || byte < 0x30 || byte > 0x37 || mode > 0o777777) throw corruptTree()
      mode = (mode << 3) | (byte - 0x30)
    }
    const nameStart = at
    while (at < data.length && data[at] !== 0) at += 1
    if (at + 21 > data.length) throw corruptTree()
    visit(mode, nameStart, at, at + 1)
    at += 21
  }
}

/**
 * The entries of a tree in order. A mode written with leading zeros comes out without.
 * @throws ProtocolError `corrupt` when it is not a tree
 */
export function parseTree(data: Uint8Array): TreeEntry[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
  const entries: TreeEntry[] = []
  eachTreeEntry(data, (mode, nameStart, nameEnd, oid) => {
    entries.push({ mode: mode.toString(8), name: bytes.toString('latin1', nameStart, nameEnd), oid: oidFromBytes(data, oid) })
  })
  return entries
}

const modes: ReadonlySet<string> = new Set(['100644', '100755', '120000', '40000', '160000'])

/** As git sorts: by bytes, a directory as if its name ended in a slash. */
const sortKey = ({ mode, name }: TreeEntry): string => (mode === '40000' ? `${name}/` : name)

/**
 * The bytes of a tree with these entries, in whatever order they are given.
 * @throws ProtocolError `bad-object` for a name or mode that a push would be refused for, and for one name twice
 */
export function encodeTree(entries: readonly TreeEntry[]): Buffer {
  const keyed = entries.map((entry) => ({ entry, key: sortKey(entry) }))
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const parts: Buffer[] = []
  for (const { entry } of keyed) {
    const { mode, name, oid } = entry
    if (!modes.has(mode)) throw new ProtocolError('bad-object', `${JSON.stringify(mode)} is not the mode of a tree entry`)
    if (name === '' || /[^\x01-\xff]/.test(name))
      throw new ProtocolError('bad-object', `not the name of a tree entry: ${quoteBytes(Buffer.from(name))}`)
    if (!isOid(oid)) throw new ProtocolError('bad-object', `not an object id: ${JSON.stringify(oid)}`)
    parts.push(Buffer.from(`${mode} ${name}\0`, 'latin1'), Buffer.from(oid, 'hex'))
  }
  const data = Buffer.concat(parts)
  checkTree(data, ignore, ignore)
  return data
}

const ignore = (): void => {}
