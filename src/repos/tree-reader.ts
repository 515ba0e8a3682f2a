import { commitLinks } from '../../protocol/objects/commit.js'
import { parseTree } from '../../protocol/objects/tree.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import { oidBytes } from '../../protocol/oid.js'
import type { PackView, Slices } from '../../protocol/ports.js'
import { objectTypes, type Oid } from '../../protocol/types.js'
import { HubError } from '../errors.js'

/** A file somewhere below a commit. `path` is text: bytes that are no UTF-8 become U+FFFD. */
export interface TreeFile {
  readonly path: string
  readonly oid: Oid
  /** Bytes of the blob. */
  readonly size: number
}

export interface CommitFiles {
  /** When the commit was made, by its committer. */
  readonly committedAt: Date
  readonly files: readonly TreeFile[]
}

/** Longer listings are cut here; clients then list by folder. */
export const maxListedFiles = 50_000
const maxTreeDepth = 128

/**
 * Every file below a commit, sorted as git sorts, at most `maxListedFiles`. Submodules are left out.
 * @throws HubError `corrupt` when an object is missing
 */
export async function listCommitFiles(view: PackView, commit: Oid, slices: Slices): Promise<CommitFiles> {
  const reader = createObjectReader(view)
  const read = async (oid: Oid, type: number) => {
    const object = await reader.readOid(oid)
    if (object?.type !== type) throw new HubError('corrupt', `object ${oid} does not read back`)
    return object.data
  }
  const { tree, seconds } = commitLinks(await read(commit, objectTypes.commit))
  const files: TreeFile[] = []

  const walk = async (oid: Oid, prefix: string, depth: number): Promise<void> => {
    if (depth > maxTreeDepth) return
    for (const entry of parseTree(await read(oid, objectTypes.tree))) {
      if (files.length >= maxListedFiles) return
      const pause = slices.pause()
      if (pause) await pause
      const path = prefix + Buffer.from(entry.name, 'latin1').toString('utf8')
      if (entry.mode === '40000') await walk(entry.oid, `${path}/`, depth + 1)
      else if (entry.mode !== '160000') files.push({ path, oid: entry.oid, size: sizeOf(view, entry.oid) })
    }
  }
  await walk(tree, '', 0)
  return { committedAt: new Date(seconds * 1000), files }
}

function sizeOf(view: PackView, oid: Oid): number {
  const entry = view.find(oidBytes(oid), 'read')
  if (entry === -1) throw new HubError('corrupt', `object ${oid} does not read back`)
  return view.sizeOf(entry)
}
