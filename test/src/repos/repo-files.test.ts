import t from 'tap'
import { createRepoFiles } from '../../../src/repos/repo-files.js'
import { create, move, never, openDomain, slices, workTree } from '../../support/domain.js'
import { collect } from '../../support/wire.js'

const domain = await openDomain(t)
const work = await workTree(t.testdir())

/** Files over real packs; counts what is read of them, and snapshots that are open. */
function openFiles() {
  const seen = { reads: 0, open: 0 }
  const files = createRepoFiles({
    slices,
    packs: {
      ...domain.packs,
      async openSnapshot(repoId, versions) {
        const snapshot = await domain.packs.openSnapshot(repoId, versions)
        const read = snapshot.read.bind(snapshot)
        const release = snapshot.release.bind(snapshot)
        seen.open += 1
        return Object.assign(snapshot, {
          read: (pack: number, from: number, to: number) => (seen.reads++, read(pack, from, to)),
          release: () => {
            seen.open -= 1
            release()
          },
        })
      },
    },
  })
  return { files, seen }
}

const at = (text: string) => ({ segments: text.split('/'), isFirstRevision: false })

t.test('what was asked for lately is answered without reading a pack, also that there is nothing; a new commit is looked at anew', async (t) => {
  const repo = await domain.makeRepo('lately')
  const one = await work.commit({ 'a/b/c.txt': 'one' })
  await domain.push(repo, { commands: [create('refs/heads/main', one)], pack: await work.pack(one) })
  const { files, seen } = openFiles()
  const find = async (text: string) => files.findFile(await domain.current('lately'), at(text), never)
  t.equal((await find('main/a/b/c.txt')).file?.size, 3)
  t.equal((await find('main/a/nothing')).file, undefined)
  const before = seen.reads
  t.ok(before > 0)
  for (const revision of ['main', one, one.slice(0, 8), 'HEAD']) {
    t.equal((await find(`${revision}/a/b/c.txt`)).file?.size, 3)
    t.equal((await find(`${revision}/a/nothing`)).file, undefined)
  }
  t.equal(seen.reads, before)
  const two = await work.commit({ 'a/b/c.txt': 'two and more', 'a/nothing': 'not any more' })
  await domain.push(repo, { commands: [move('refs/heads/main', one, two)], pack: await work.pack(two, `^${one}`) })
  t.equal((await find('main/a/b/c.txt')).file?.size, 12)
  t.equal((await find('main/a/nothing')).file?.size, 12)
  t.equal((await find(`${one}/a/b/c.txt`)).file?.size, 3)
  t.equal(seen.open, 0)
})

t.test('what one repository is known to hold says nothing of another', async (t) => {
  const one = await work.commit({ f: 'f' })
  const has = await domain.makeRepo('has')
  await domain.push(has, { commands: [create('refs/heads/main', one)], pack: await work.pack(one) })
  const { files } = openFiles()
  t.equal((await files.findFile(await domain.current('has'), at(`${one}/f`), never)).file?.size, 1)
  await domain.makeRepo('empty')
  await t.rejects(async () => files.findFile(await domain.current('empty'), at(`${one}/f`), never), { code: 'revision-not-found' })
})

t.test('every snapshot is let go of: after an error, at the end of a stream, and when its reader leaves', async (t) => {
  const repo = await domain.makeRepo('released')
  const one = await work.commit({ big: Buffer.alloc(2_000_000, 'x'), small: 's' })
  await domain.push(repo, { commands: [create('refs/heads/main', one)], pack: await work.pack(one) })
  const { files, seen } = openFiles()
  const current = await domain.current('released')
  const { file } = await files.findFile(current, at('main/big'), never)
  t.equal((await collect(files.readFile(current, file!, { range: { from: 5, to: 1_999_999 }, signal: never }))).length, 1_999_994)
  for await (const _ of files.readFile(current, file!, { range: { from: 0, to: 2_000_000 }, signal: never })) break
  await t.rejects(files.findFile(current, at('nobody/big'), never), { code: 'revision-not-found', message: 'Invalid rev id: nobody' })
  await t.rejects(files.findFile(current, at('main/other'), AbortSignal.abort()), { code: 'cancelled' })
  const missing = { blob: '1'.repeat(40) as never, size: 1 }
  await t.rejects(collect(files.readFile(current, missing, { range: { from: 0, to: 1 }, signal: never })), { code: 'corrupt' })
  t.equal(seen.open, 0)
})
