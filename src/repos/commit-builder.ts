import { encodeCommit, type Ident } from '../../protocol/objects/commit.js'
import { hashObject } from '../../protocol/objects/hash.js'
import { encodeTree, type TreeEntry } from '../../protocol/objects/tree.js'
import { oidFromBytes } from '../../protocol/oid.js'
import { objectTypes, type ObjectType, type Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'
import type { PackObject } from './pack-stream.js'

/** One file of a commit: path with slashes, UTF-8; whole content. */
export interface CommitFile {
  readonly path: string
  readonly content: Uint8Array
}

export interface BuiltCommit {
  readonly oid: Oid
  /** All that the commit is made of, itself first: what a pack of it holds. */
  readonly objects: readonly PackObject[]
}

interface Folder {
  readonly files: Map<string, Oid>
  readonly folders: Map<string, Folder>
}

const maxPathBytes = 4096
const maxDepth = 64

/**
 * A root commit that holds exactly `files`, in memory: for few and small files.
 * @throws HubError `invalid` for paths that no checkout could hold
 */
export function buildRootCommit(files: readonly CommitFile[], message: string, author: Ident): BuiltCommit {
  const objects: PackObject[] = []
  const seen = new Set<Oid>()
  const add = (type: ObjectType, data: Uint8Array): Oid => {
    const oid = oidFromBytes(hashObject(type, data))
    if (!seen.has(oid)) objects.push({ type, data: () => data })
    seen.add(oid)
    return oid
  }
  const root: Folder = { files: new Map(), folders: new Map() }
  for (const { path, content } of files) place(root, path, add(objectTypes.blob, content))
  const tree = writeFolder(root, add)
  const oid = add(objectTypes.commit, encodeCommit({ tree, parents: [], author, committer: author, message }))
  return { oid, objects: objects.toReversed() }
}

function place(root: Folder, path: string, blob: Oid): void {
  const parts = path.split('/')
  if (Buffer.byteLength(path) > maxPathBytes || parts.length > maxDepth || parts.some((part) => part === '')) {
    throw new HubError('invalid', `not a path of a file: ${JSON.stringify(path.slice(0, 200))}`)
  }
  let folder = root
  for (const part of parts.slice(0, -1)) {
    const name = latin1(part)
    if (folder.files.has(name)) throw new HubError('invalid', `${JSON.stringify(path)} needs a folder where a file is`)
    let next = folder.folders.get(name)
    if (!next) folder.folders.set(name, (next = { files: new Map(), folders: new Map() }))
    folder = next
  }
  const name = latin1(parts.at(-1)!)
  if (folder.folders.has(name)) throw new HubError('invalid', `${JSON.stringify(path)} is a folder already`)
  folder.files.set(name, blob)
}

function writeFolder(folder: Folder, add: (type: ObjectType, data: Uint8Array) => Oid): Oid {
  const entries: TreeEntry[] = [...folder.files].map(([name, oid]) => ({ mode: '100644', name, oid }))
  for (const [name, child] of folder.folders) entries.push({ mode: '40000', name, oid: writeFolder(child, add) })
  return add(objectTypes.tree, encodeTree(entries))
}

/** Tree entries name files by bytes, one character a byte. */
const latin1 = (name: string): string => Buffer.from(name, 'utf8').toString('latin1')
