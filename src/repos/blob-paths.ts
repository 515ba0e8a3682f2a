import { commitLinks } from '../../protocol/objects/commit.js'
import { parseTree } from '../../protocol/objects/tree.js'
import type { PackView, Slices } from '../../protocol/ports.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import { objectTypes, type Oid } from '../../protocol/types.js'

/** Trees looked at: whoever waits for the answer wants it soon, and an oid tells him as well. */
const maxTrees = 20_000

/**
 * Where blobs stand in what these commits hold: a path each, as text, of those that are found. What only older commits hold is not, nor what
 * stands deeper than is looked.
 */
export async function findBlobPaths(view: PackView, commits: readonly Oid[], blobs: ReadonlySet<Oid>, slices: Slices): Promise<Map<Oid, string>> {
  const reader = createObjectReader(view)
  const paths = new Map<Oid, string>()
  const seen = new Set<Oid>()
  const queue: { readonly tree: Oid; readonly prefix: string }[] = []
  for (const oid of commits) {
    const object = await reader.readOid(oid)
    if (object?.type === objectTypes.commit) queue.push({ tree: commitLinks(object.data).tree, prefix: '' })
  }
  for (let next = queue.shift(); next && paths.size < blobs.size && seen.size < maxTrees; next = queue.shift()) {
    if (seen.has(next.tree)) continue
    seen.add(next.tree)
    const object = await reader.readOid(next.tree)
    if (object?.type !== objectTypes.tree) continue
    for (const { mode, name, oid } of parseTree(object.data)) {
      const path = next.prefix + Buffer.from(name, 'latin1').toString('utf8')
      if (mode === '40000') queue.push({ tree: oid, prefix: `${path}/` })
      else if (blobs.has(oid) && !paths.has(oid)) paths.set(oid, path)
    }
    const pause = slices.pause()
    if (pause) await pause
  }
  return paths
}
