import { commitLinks } from '../../protocol/objects/commit.js'
import { parseTree, type TreeEntry } from '../../protocol/objects/tree.js'
import { createObjectReader, type ObjectReader } from '../../protocol/pack/reader.js'
import type { PackView } from '../../protocol/ports.js'
import { objectTypes, type ObjectType, type Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'
import { maxAttributesBytes } from './lfs-attributes.js'

/** What a new commit builds on. */
export interface UploadBase {
  /** Undefined: on nothing. */
  readonly tree: Oid | undefined
  readonly readTree: (tree: Oid) => Promise<readonly TreeEntry[]>
  /** The `.gitattributes` of a folder, if it has one. */
  readonly attributesIn: (folder: string) => Promise<Uint8Array | undefined>
}

/**
 * The commit `parent`, as far as it is asked about; undefined: no commit at all.
 * @throws HubError `corrupt`; ProtocolError `corrupt`, `too-large` for a `.gitattributes` over its limit
 */
export async function readUploadBase(view: PackView, parent: Oid | undefined): Promise<UploadBase> {
  const reader = createObjectReader(view)
  const small = createObjectReader(view, { maxBytes: maxAttributesBytes })
  const tree = parent === undefined ? undefined : commitLinks(await read(reader, parent, objectTypes.commit)).tree
  const trees = new Map<Oid, readonly TreeEntry[]>()
  const readTree = async (oid: Oid): Promise<readonly TreeEntry[]> => {
    let entries = trees.get(oid)
    if (!entries) trees.set(oid, (entries = parseTree(await read(reader, oid, objectTypes.tree))))
    return entries
  }
  const folderTree = async (folder: string): Promise<Oid | undefined> => {
    let at = tree
    for (const name of folder === '' ? [] : folder.split('/')) {
      if (at === undefined) return undefined
      const wanted = Buffer.from(name, 'utf8').toString('latin1')
      at = (await readTree(at)).find((entry) => entry.name === wanted && entry.mode === '40000')?.oid
    }
    return at
  }
  return {
    tree,
    readTree,
    async attributesIn(folder) {
      const at = await folderTree(folder)
      const entry = at && (await readTree(at)).find(({ name, mode }) => name === '.gitattributes' && mode.startsWith('100'))
      return entry && read(small, entry.oid, objectTypes.blob)
    },
  }
}

async function read(reader: ObjectReader, oid: Oid, type: ObjectType): Promise<Uint8Array> {
  const object = await reader.readOid(oid)
  if (object?.type !== type) throw new HubError('corrupt', `object ${oid} does not read back`)
  return object.data
}
