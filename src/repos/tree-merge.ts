import { hashObject } from '../../protocol/objects/hash.js'
import { encodeTree, type TreeEntry } from '../../protocol/objects/tree.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { objectTypes, type Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'

/** A file to be put into a tree: path with slashes, UTF-8, as `parseUploadPath` lets it through. */
export interface TreeChange {
  readonly path: string
  readonly blob: Oid
}

export interface MergedTree {
  readonly tree: Oid
  /** The trees that are new, by oid. */
  readonly made: ReadonlyMap<Oid, Uint8Array>
}

/** The entries of a tree that is there. */
export type ReadTree = (tree: Oid) => Promise<readonly TreeEntry[]>

interface Node {
  readonly files: Map<string, Oid>
  readonly folders: Map<string, Node>
}

/**
 * A tree with `changes` put into it, `base` undefined for an empty one. Only folders on the way to a change are read. A file that is there
 * is replaced, and stays executable if it was; nothing else gives way.
 * @throws HubError `invalid` for a path twice, a path through a file, a file where a folder is, and anything where a submodule is
 */
export async function mergeTree(base: Oid | undefined, changes: readonly TreeChange[], read: ReadTree): Promise<MergedTree> {
  const root: Node = { files: new Map(), folders: new Map() }
  for (const change of changes) place(root, change)
  const made = new Map<Oid, Uint8Array>()
  return { tree: await merge(base, root, '', read, made), made }
}

function place(root: Node, { path, blob }: TreeChange): void {
  const names = path.split('/')
  const last = names.pop()!
  let node = root
  for (const [depth, name] of names.entries()) {
    if (node.files.has(name)) throw throughFile(path, names.slice(0, depth + 1).join('/'))
    let next = node.folders.get(name)
    if (!next) node.folders.set(name, (next = { files: new Map(), folders: new Map() }))
    node = next
  }
  if (node.files.has(last)) throw new HubError('invalid', `${quote(path)} is there twice among the files that were sent`)
  if (node.folders.has(last)) throw new HubError('invalid', `${quote(path)} cannot be a file and a folder at once`)
  node.files.set(last, blob)
}

async function merge(base: Oid | undefined, node: Node, folder: string, read: ReadTree, made: Map<Oid, Uint8Array>): Promise<Oid> {
  const entries = new Map<string, TreeEntry>()
  for (const entry of base === undefined ? [] : await read(base)) entries.set(entry.name, { ...entry, mode: today(entry.mode) })
  for (const [text, oid] of node.files) {
    const name = latin1(text)
    const old = entries.get(name)
    if (old?.mode === '40000') throw new HubError('invalid', `${quote(folder + text)} is a folder, and no file can take its place`)
    if (old?.mode === '160000') throw new HubError('invalid', `${quote(folder + text)} is a submodule, and no file can take its place`)
    entries.set(name, { mode: old?.mode === '100755' ? '100755' : '100644', name, oid })
  }
  for (const [text, child] of node.folders) {
    const name = latin1(text)
    const old = entries.get(name)
    const below = `${folder}${text}/`
    if (old && old.mode !== '40000') throw throughFile(`${below}…`, folder + text)
    entries.set(name, { mode: '40000', name, oid: await merge(old?.oid, child, below, read, made) })
  }
  const data = encodeTree([...entries.values()])
  const oid = oidFromBytes(hashObject(objectTypes.tree, data))
  if (oid !== base) made.set(oid, data)
  return oid
}

/** Old histories have files of modes that git writes no more. As git does, whoever writes the tree anew writes what is meant. */
const today = (mode: string): string => (/^100[0-7]{3}$/.test(mode) ? ((Number.parseInt(mode, 8) & 0o100) !== 0 ? '100755' : '100644') : mode)

/** Tree entries name files by bytes, one character a byte. */
const latin1 = (name: string): string => Buffer.from(name, 'utf8').toString('latin1')

const quote = (path: string): string => JSON.stringify(path.slice(0, 200))
const throughFile = (path: string, file: string): HubError => new HubError('invalid', `${quote(path)} needs a folder where ${quote(file)} is a file`)
