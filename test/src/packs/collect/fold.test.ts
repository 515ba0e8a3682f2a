import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { listFoldCandidates, removeRetiredPacks } from '../../../../src/db/packs.js'
import { sql } from '../../../../src/db/sql.js'
import { listUnusedBlobs } from '../../../../src/db/stored-blobs.js'
import { cloneObjects, folding, meanwhile, packRows, pushed, pushMany } from '../../../support/collections.js'
import { answerPack } from '../../../../protocol/pack/writer.js'
import { cloneRequest, create, move, never, openDomain, remove, slices, workTree } from '../../../support/domain.js'

t.test('many small packs become one that holds what they held, and a clone is the same', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'many', 9, t.testdir())
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  const [folded] = await folding(domain)(repo.id, never)
  t.equal(folded?.packs, 9)
  t.equal(folded?.objects, 27 + 9, 'a commit, a tree and two blobs each')
  const rows = await packRows(domain, repo.id)
  t.same(
    rows.map(({ state, source }) => `${state} ${source}`),
    [...Array.from({ length: 9 }, () => 'retired receive'), 'live fold'],
  )
  t.equal(rows.at(-1)?.external, false)
  t.equal((await domain.current('many')).bytes, rows.at(-1)?.bytes, 'the repository is as large as what is in use')
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)

  const next = await work.commit({ more: 'x' })
  const [pushed] = await domain.push(repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  t.equal(pushed?.kind, 'ok', 'and pushes go on, thin against what was folded')
  t.same(await folding(domain)(repo.id, never), [], 'two packs are well as they are')
})

t.test('a snapshot that is open while its packs are folded reads on', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'open', 6, t.testdir())
  const view = await domain.packs.openSnapshot(repo.id)
  t.equal((await folding(domain)(repo.id, never)).length, 1)
  const wants = view.refs.list.map(({ oid }) => oid)
  let bytes = 0
  for await (const chunk of answerPack(view, cloneRequest(wants), { slices: slices() })) bytes += chunk.length
  t.ok(bytes > 500)
  view.release()
})

t.test('an object that several packs hold is once in what is made', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'twice', 4, t.testdir())
  for (let i = 0; i < 3; i++) {
    const branch = `refs/heads/copy${i}`
    const oid = await work.commit({ [`only${i}`]: `${i}` })
    // All of the history comes again with each.
    const [result] = await domain.push(repo, { commands: [create(branch, oid)], pack: await work.pack(oid) })
    t.equal(result?.kind, 'ok')
  }
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  const [folded] = await folding(domain)(repo.id, never)
  t.equal(folded?.packs, 7)
  t.equal(folded?.objects, 16 + 9)
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)
  t.ok(last)
})

t.test('a pack that is gone meanwhile, or a change of epoch: nothing is changed', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'stale', 5, t.testdir())
  const before = await packRows(domain, repo.id)
  const foldWhile = (statement: ReturnType<typeof sql>) => folding(domain, { packs: meanwhile(domain.packs, () => domain.db.execute(statement)) })
  t.same(await foldWhile(sql`UPDATE repositories SET gc_epoch = gc_epoch + 1 WHERE id = ${repo.id}`)(repo.id, never), [])
  t.same(await packRows(domain, repo.id), before)
  const oldest = sql`UPDATE packs SET state = 'retired', retired_at = now() WHERE repo_id = ${repo.id} AND id = (SELECT min(id) FROM packs WHERE repo_id = ${repo.id})`
  t.same(await foldWhile(oldest)(repo.id, never), [])
  t.equal((await packRows(domain, repo.id)).filter(({ state }) => state === 'live').length, 4)
  t.same(await readdir(domain.spool.directory).catch(() => []), [], 'nothing is left in the spool')
})

t.test('two at once: one of them folds', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'both', 5, t.testdir())
  const fold = folding(domain)
  const results = await Promise.all([fold(repo.id, never), fold(repo.id, never)])
  t.equal(results.flat().length, 1)
  t.equal((await packRows(domain, repo.id)).filter(({ state }) => state === 'live').length, 1)
})

t.test('pushes that come while it folds stand beside what is made', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'busy', 5, t.testdir())
  const next = await work.commit({ meanwhile: 'x' })
  const pack = await work.pack(next, `^${last}`)
  const push = () => pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack })
  const fold = folding(domain, { packs: meanwhile(domain.packs, push) })
  t.equal((await fold(repo.id, never))[0]?.packs, 5)
  t.equal((await packRows(domain, repo.id)).filter(({ state }) => state === 'live').length, 2)
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), next)
})

t.test('classes are folded apart', async (t) => {
  const domain = await openDomain(t)
  const { repo, work } = await pushMany(domain, 'classes', 4, t.testdir())
  for (let i = 0; i < 4; i++) {
    const oid = await work.commit({ [`pr${i}`]: `${i}` })
    await domain.push(repo, { commands: [create(`refs/other/${i}`, oid)], pack: await work.pack(oid) })
  }
  await domain.push(repo, { commands: [remove('refs/other/0', await work.rev('HEAD~3'))] })
  const folded = await folding(domain)(repo.id, never)
  t.same(
    folded.map(({ packs }) => packs),
    [4, 4],
  )
  t.same(
    (await packRows(domain, repo.id)).filter(({ state }) => state === 'live').map((row) => row.class),
    [0, 1],
  )
})

t.test('rows of what was folded go when nobody can be reading them any more, and bytes in the store are needed by nobody then', async (t) => {
  const domain = await openDomain(t)
  const repo = await domain.makeRepo('stored')
  const work = await workTree(t.testdir())
  for (let i = 0; i < 4; i++) {
    const oid = await work.commit({ [`big${i}`]: randomBytes(200_000) })
    await domain.push(repo, { commands: [create(`refs/heads/b${i}`, oid)], pack: await work.pack(oid) })
  }
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  t.equal((await folding(domain)(repo.id, never))[0]?.packs, 4)
  const remove = () => domain.db.transaction((tx) => removeRetiredPacks(tx, 60_000, 3))
  t.equal(await remove(), 0, 'not at once')
  const links = async () => (await domain.db.query<{ n: number }>(sql`SELECT count(*)::int AS n FROM blob_link WHERE repo_id = ${repo.id}`))[0]!.n
  t.equal(await links(), 5 * 4)
  await domain.db.execute(sql`UPDATE packs SET retired_at = retired_at - interval '1 hour' WHERE state = 'retired'`)
  t.equal(await remove(), 3)
  t.equal(await remove(), 1)
  t.equal(await links(), 4)
  t.equal((await listUnusedBlobs(domain.db, 0, { after: '', limit: 100 })).length, 16)
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)
})

t.test('which repositories are looked at', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'full', 4, t.testdir())
  await domain.makeRepo('empty')
  const candidates = (limits: { maxInline: number; maxInlineBytes: number; maxPacks: number }) => listFoldCandidates(domain.db, limits)
  t.same(await candidates({ maxInline: 4, maxInlineBytes: 1e6, maxPacks: 4 }), [])
  t.same(await candidates({ maxInline: 3, maxInlineBytes: 1e6, maxPacks: 4 }), [repo.id])
  t.same(await candidates({ maxInline: 4, maxInlineBytes: 100, maxPacks: 4 }), [repo.id])
  t.same(await candidates({ maxInline: 4, maxInlineBytes: 1e6, maxPacks: 3 }), [repo.id])
  await domain.db.execute(sql`UPDATE repositories SET deleted_at = now() WHERE id = ${repo.id}`)
  t.same(await candidates({ maxInline: 3, maxInlineBytes: 1e6, maxPacks: 4 }), [], 'not a deleted one')
})
