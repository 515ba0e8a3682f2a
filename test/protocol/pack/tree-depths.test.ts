import t from 'tap'
import { blob, commitOf, indexPack, nameOf, packOf, treeOf, type Entry } from '../../support/packs.js'

/** `folders` folders within one another below a root, a file in the innermost; the root comes first or last. */
function nested(
  folders: number,
  order: 'root first' | 'root last',
): { readonly entries: readonly Entry[]; readonly root: string; readonly innermost: string } {
  const file = blob('far down')
  const trees = [treeOf(['100644', 'file', nameOf(file)])]
  for (let i = 0; i < folders; i++) trees.push(treeOf(['40000', 'f', nameOf(trees.at(-1)!)]))
  const [innermost, root] = [nameOf(trees[0]!), nameOf(trees.at(-1)!)]
  return { root, entries: [file, ...(order === 'root first' ? trees.toReversed() : trees)], innermost }
}

for (const order of ['root first', 'root last'] as const) {
  t.test(`2,048 folders within one another pass, a tree deeper than that is refused; ${order}`, async (t) => {
    const { indexer, index } = indexPack(packOf(nested(2048, order).entries))
    t.equal(indexer.connect(index).roots?.length, 20)
    const { entries, innermost } = nested(2049, order)
    const deep = indexPack(packOf(entries))
    t.throws(() => deep.indexer.connect(deep.index), {
      code: 'too-large',
      message: `tree ${innermost} lies 2049 folders deep, git reads no more than 2048`,
    })
  })
}

t.test('the commit above the root is no folder', async (t) => {
  const { entries, root } = nested(2048, 'root first')
  const { indexer, index } = indexPack(packOf([commitOf(root), ...entries]))
  t.equal(indexer.connect(index).roots?.length, 20)
})

t.test('many trees beside one another are not deep', async (t) => {
  const trees = Array.from({ length: 3000 }, (_, i) => treeOf(['100644', String(i), nameOf(blob('x'))]))
  const names = trees.map((tree, i): [string, string, string] => ['40000', String(i).padStart(4, '0'), nameOf(tree)])
  const { indexer, index } = indexPack(packOf([treeOf(...names), ...trees, blob('x')]))
  t.equal(indexer.connect(index).externals.length, 0)
})
