import { randomBytes } from 'node:crypto'
import { readdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { create, openDomain, workTree } from '../../support/domain.js'

/** Sizes of all blobs, by key. */
async function sizesBelow(directory: string): Promise<Readonly<Record<string, number>>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, (await stat(path)).size] as const)))
}

t.test('blobs of a pack that are not whole in the store are replaced when the pack comes again', async (t) => {
  for (const [where, bytes] of [
    ['memory', 300_000],
    ['a file', 3_000_000],
  ] as const) {
    const domain = await openDomain(t)
    const work = await workTree(t.testdir())
    const tip = await work.commit({ file: randomBytes(bytes) })
    const push = { commands: [create('refs/heads/main', tip)], pack: await work.pack(tip) }
    t.match(await domain.push(await domain.makeRepo('first'), push), [{ kind: 'ok' }])
    const sizes = await sizesBelow(domain.blobDirectory)
    t.equal(Object.keys(sizes).length, 4, 'pack, idx, rev, tbl')
    for (const [path, size] of Object.entries(sizes)) await truncate(path, size - 10)
    t.match(await domain.push(await domain.makeRepo('second'), push), [{ kind: 'ok' }], `out of ${where}`)
    t.same(await sizesBelow(domain.blobDirectory), sizes)
  }
})
