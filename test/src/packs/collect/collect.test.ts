import { randomBytes } from 'node:crypto'
import t from 'tap'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { oidBytes } from '../../../../protocol/oid.js'
import type { PackRequest } from '../../../../protocol/ports.js'
import type { Oid } from '../../../../protocol/types.js'
import { listCollectCandidates } from '../../../../src/db/packs.js'
import { sql } from '../../../../src/db/sql.js'
import { cloneObjects, collecting, folding, meanwhile, packRows, pushed, pushMany } from '../../../support/collections.js'
import { createAnswers } from '../../../../src/packs/answers.js'
import { findBlobless, findJoinedAnswer } from '../../../../src/packs/joined-answer.js'
import { createPackJobs } from '../../../../src/packs/workers/pack-jobs.js'
import { PackWorkers } from '../../../../src/packs/workers/pool.js'
import { cloneRequest, create, move, never, openDomain, remove, slices, type Domain } from '../../../support/domain.js'
import { git } from '../../../support/git.js'

const options = { signal: never }
const live = async (domain: Domain, repoId: number) => (await packRows(domain, repoId)).filter(({ state }) => state === 'live')
const garbage = async (domain: Domain, repoId: number) => (await packRows(domain, repoId)).filter(({ state }) => state === 'garbage')
const epoch = async (domain: Domain, repoId: number) =>
  (await domain.db.query<{ gc_epoch: number }>(sql`SELECT gc_epoch FROM repositories WHERE id = ${repoId}`))[0]!.gc_epoch

/** Whether an object can be read, and whether it can be relied on. */
async function finds(domain: Domain, repoId: number, oid: string): Promise<{ read: boolean; credit: boolean }> {
  const view = await domain.packs.openSnapshot(repoId)
  try {
    const bytes = oidBytes(oid as Oid)
    return { read: view.find(bytes, 'read') !== -1, credit: view.find(bytes, 'credit') !== -1 }
  } finally {
    view.release()
  }
}

/** A branch of two commits beside main, pushed by itself. */
async function pushSide(domain: Domain, { repo, work, last }: Awaited<ReturnType<typeof pushMany>>, branch = 'refs/heads/side') {
  const first = await work.commit({ side: `${branch} 1` })
  const tip = await work.commit({ side: `${branch} 2` })
  await pushed(domain, repo, { commands: [create(branch, tip)], pack: await work.pack(tip, `^${last}`) })
  return { first, tip }
}

t.test('what refs lead to is one pack, what none leads to is garbage that is read and not relied on', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'small', 5, t.testdir())
  const { repo } = made
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  const side = await pushSide(domain, made)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  t.same(await finds(domain, repo.id, side.tip), { read: true, credit: true })
  const found = await collecting(domain)(repo.id, { ...options, dryRun: true })
  t.match(found, { outcome: 'unchanged', packs: 6, objects: 20, garbage: 6, expired: 0 })
  t.equal((await live(domain, repo.id)).length, 6, 'a dry run changes nothing')

  t.match(await collecting(domain)(repo.id, options), { outcome: 'collected', packs: 6, objects: 20, garbage: 6 })
  t.match(await live(domain, repo.id), [{ source: 'gc', class: 0, part: null, objects: 20, external: false }])
  t.match(await garbage(domain, repo.id), [{ source: 'gc', class: 3, objects: 6, external: true }])
  t.equal(await epoch(domain, repo.id), 2)
  t.same(await finds(domain, repo.id, side.tip), { read: true, credit: false })
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)
  t.match(await collecting(domain)(repo.id, options), { outcome: 'unchanged', packs: 1, garbage: 0 }, 'and then there is nothing to do')
})

t.test('a large repository: history in one pack, blobs in another, and both are an answer', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'large', 5, t.testdir())
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  t.equal((await collecting(domain, { splitBytes: 1 })(repo.id, options)).outcome, 'collected')
  t.match(await live(domain, repo.id), [
    { part: 'meta', objects: 10, external: true },
    { part: 'blobs', objects: 10, external: false },
  ])
  t.equal(await epoch(domain, repo.id), 1, 'nothing became garbage')
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)

  const view = await domain.packs.openSnapshot(repo.id)
  const joined = findJoinedAnswer(view, cloneRequest([last]))!
  t.same([view.packs[joined.meta]!.part, view.packs[joined.blobs]!.part], ['meta', 'blobs'])
  const earlier = await work.rev(`${last}~1`)
  const cases: readonly (readonly [string, PackRequest])[] = [
    ['an older commit', cloneRequest([earlier])],
    ['something is had', cloneRequest([last], { haves: [earlier] })],
    ['no offsets', cloneRequest([last], { ofsDelta: false })],
    ['nothing is wanted', cloneRequest([])],
    ['something that is not in it', cloneRequest([last, 'f'.repeat(40)])],
  ]
  for (const [name, asked] of cases) t.equal(findJoinedAnswer(view, asked), undefined, name)
  let source = ''
  const answers = createAnswers({ answerBytes: 0, onAnswered: (from) => void (source = from) })
  const chunks: Buffer[] = []
  for await (const chunk of answers.answerFor('user 1')(view, cloneRequest([last]), { slices: slices() })) chunks.push(Buffer.from(chunk))
  const blobless = cloneRequest([last], { filter: { blobBytes: 0, treeDepth: Number.POSITIVE_INFINITY } })
  t.equal(findBlobless(view, blobless), joined.meta)
  t.equal(findBlobless(view, cloneRequest([last])), -1)
  t.equal(findBlobless(view, cloneRequest([last], { filter: { blobBytes: 1, treeDepth: Number.POSITIVE_INFINITY } })), -1)
  t.equal(findBlobless(view, cloneRequest([last], { filter: { blobBytes: 0, treeDepth: 1 } })), -1)
  t.equal(findBlobless(view, { ...blobless, boundary: { shallow: [last as Oid], unshallow: [] } }), -1)
  view.release()
  t.equal(source, 'stored')
  const pack = Buffer.concat(chunks)
  t.equal(pack.readUInt32BE(8), 20)
  const bare = join(t.testdirName, 'joined')
  await git(['init', '-q', '--bare', bare])
  await git(['index-pack', '--stdin', '--strict'], { cwd: bare, input: pack })
  const { stdout } = await git(['rev-list', '--objects', '--no-object-names', last], { cwd: bare })
  t.equal(stdout.toString().split('\n').toSorted().join('\n'), before)

  const next = await work.commit({ 'a.txt': 'new' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'later')), next)
})

t.test('refs outside of branches and tags get a class of their own', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'classes', 3, t.testdir())
  await pushSide(domain, made, 'refs/changes/1')
  t.equal((await collecting(domain)(made.repo.id, options)).garbage, 0)
  t.match(await live(domain, made.repo.id), [
    { class: 0, objects: 12 },
    { class: 1, objects: 6, external: true },
  ])
})

t.test('garbage goes after the retention time, and not before', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'expiring', 2, t.testdir())
  const { repo } = made
  const side = await pushSide(domain, made)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  await collecting(domain)(repo.id, options)
  t.match(await collecting(domain)(repo.id, options), { outcome: 'unchanged', expired: 0 })
  await domain.db.execute(sql`UPDATE packs SET created_at = created_at - interval '2 minutes' WHERE repo_id = ${repo.id}`)
  t.same(await listCollectCandidates(domain.db, { restMs: 1e9, garbageMs: 60_000 }), [repo.id])
  t.match(await collecting(domain)(repo.id, options), { outcome: 'collected', expired: 1 })
  t.same(await garbage(domain, repo.id), [])
  t.same(await finds(domain, repo.id, side.tip), { read: false, credit: false })
  t.same(await listCollectCandidates(domain.db, { restMs: 1e9, garbageMs: 60_000 }), [])
})

t.test('a ref that leads into garbage has it written anew', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'rescued', 2, t.testdir())
  const { repo } = made
  const side = await pushSide(domain, made)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  await collecting(domain)(repo.id, options)
  // No push can do this: what is garbage is not relied on.
  await domain.db.execute(sql`INSERT INTO refs (repo_id, name, oid) VALUES (${repo.id}, 'refs/heads/back', ${Buffer.from(side.tip, 'hex')})`)
  await domain.db.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${repo.id}`)
  await domain.db.execute(sql`UPDATE packs SET created_at = created_at - interval '2 minutes' WHERE repo_id = ${repo.id}`)
  t.match(await collecting(domain, { splitBytes: 1 })(repo.id, options), { outcome: 'collected', objects: 14, expired: 0 })
  t.same(await finds(domain, repo.id, side.tip), { read: true, credit: true })
})

t.test('without refs all is garbage; without packs there is nothing to do', async (t) => {
  const domain = await openDomain(t)
  const { repo, last } = await pushMany(domain, 'bare', 2, t.testdir())
  const none = await domain.makeRepo('none')
  t.match(await collecting(domain)(none.id, options), { outcome: 'unchanged', packs: 0, objects: 0 })
  // The default branch cannot be deleted by a push.
  await domain.db.execute(sql`DELETE FROM refs WHERE repo_id = ${repo.id}`)
  await domain.db.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${repo.id}`)
  t.match(await collecting(domain)(repo.id, options), { outcome: 'collected', objects: 0, garbage: 8 })
  t.same(await finds(domain, repo.id, last), { read: true, credit: false })
  t.equal((await domain.current('bare')).bytes, 0)
})

t.test('races, forced: a push that stands on what refs lead to goes along', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'along', 3, t.testdir())
  const { repo, work, last } = made
  const side = await pushSide(domain, made)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  await work.reset(last)
  const next = await work.commit({ meanwhile: 'x' })
  const pack = await work.pack(next, `^${last}`)
  const push = () => pushed(domain, repo, { commands: [move('refs/heads/main', last, next), create('refs/heads/old', last)], pack })
  t.match(await collecting(domain, { packs: meanwhile(domain.packs, push) })(repo.id, options), { outcome: 'collected', garbage: 6 })
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), next)
})

t.test('races, forced: a branch made meanwhile on what was about to be garbage stops the collection', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'back', 3, t.testdir())
  const { repo } = made
  const side = await pushSide(domain, made)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  const back = () => pushed(domain, repo, { commands: [create('refs/heads/back', side.first)] })
  t.match(await collecting(domain, { packs: meanwhile(domain.packs, back) })(repo.id, options), { outcome: 'moved-on' })
  t.same(await finds(domain, repo.id, side.first), { read: true, credit: true })
  t.equal(await epoch(domain, repo.id), 1)
  t.match(await collecting(domain)(repo.id, options), { outcome: 'collected', garbage: 3 }, 'the next one keeps it')
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), side.first)
})

t.test('races, forced: so does a push whose pack stands on what was about to be garbage', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'upon', 3, t.testdir())
  const { repo, work } = made
  const side = await pushSide(domain, made)
  const upon = await work.commit({ upon: 'x' })
  const pack = await work.pack(upon, `^${side.tip}`)
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  const push = () => pushed(domain, repo, { commands: [create('refs/heads/upon', upon)], pack })
  t.match(await collecting(domain, { packs: meanwhile(domain.packs, push) })(repo.id, options), { outcome: 'moved-on' })
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), upon)
})

t.test('races, forced: a push that was checked before and comes after is checked again, and may come whole', async (t) => {
  const domain = await openDomain(t)
  const made = await pushMany(domain, 'after', 3, t.testdir())
  const { repo, work } = made
  const side = await pushSide(domain, made)
  const upon = await work.commit({ upon: 'x' })
  await pushed(domain, repo, { commands: [remove('refs/heads/side', side.tip)] })
  const before = async () => void (await collecting(domain)(repo.id, options))
  const [refused] = await domain.push(repo, { commands: [create('refs/heads/upon', upon)], pack: await work.pack(upon, `^${side.tip}`), before })
  t.match(refused, { kind: 'refused', reason: 'missing necessary objects' })
  await pushed(domain, repo, { commands: [create('refs/heads/upon', upon)], pack: await work.pack(upon) })
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), upon)
})

t.test('races, forced: a fold that ends first, or after', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'folds', 5, t.testdir())
  const before = await cloneObjects(domain, repo.id, join(t.testdirName, 'before'))
  const fold = () => folding(domain)(repo.id, never)
  t.match(await collecting(domain, { packs: meanwhile(domain.packs, fold) })(repo.id, options), { outcome: 'moved-on' })
  const second = await pushMany(domain, 'folds2', 5, join(t.testdirName))
  const collect = () => collecting(domain)(second.repo.id, options)
  t.same(await folding(domain, { packs: meanwhile(domain.packs, collect) })(second.repo.id, never), [])
  t.equal(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), before)
  t.match(await cloneObjects(domain, second.repo.id, join(t.testdirName, 'second')), second.last)
})

/** A repository whose second push is a large file, in a stored pack; and that pack's path. */
async function pushLarge(domain: Domain, folder: string) {
  const { repo, work, last } = await pushMany(domain, 'stored', 1, folder)
  const next = await work.commit({ big: randomBytes(300_000) })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  const stored = (kind: string): string =>
    join(domain.blobDirectory, readdirSync(domain.blobDirectory, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(`.${kind}`))!)
  return { repo, next, big: await work.rev('HEAD:big'), pack: stored('pack'), idx: stored('idx') }
}

/** Changes one byte in the middle of a file, behind its owner's back. */
function rot(path: string): void {
  const bytes = readFileSync(path)
  bytes[bytes.length >> 1]! ^= 1
  rmSync(path)
  writeFileSync(path, bytes)
}

t.test('what has rotted on the disk is never copied: the collection fails, and nothing is changed', async (t) => {
  const domain = await openDomain(t)
  const { repo, big, pack } = await pushLarge(domain, t.testdir())
  rot(pack)
  const before = await packRows(domain, repo.id)
  const message = `object ${big} is not stored as it was once written down`
  await t.rejects(collecting(domain)(repo.id, options), { code: 'corrupt', message })
  await t.rejects(collecting(domain, { splitBytes: 1 })(repo.id, options), { code: 'corrupt', message })
  const workers = new PackWorkers({ size: 1 })
  t.teardown(() => workers.close())
  const { copyPack } = createPackJobs(workers, domain.spool)
  await t.rejects(collecting(domain, { copyPack })(repo.id, options), { code: 'corrupt', message })
  t.same(await packRows(domain, repo.id), before)
  t.equal(await epoch(domain, repo.id), 1)
  t.equal(domain.spool.usedBytes, 0)
})

t.test('without its index a pack has to hash to its name', async (t) => {
  const domain = await openDomain(t)
  const { repo, next, idx } = await pushLarge(domain, t.testdir())
  rot(idx)
  t.equal((await collecting(domain)(repo.id, options)).outcome, 'collected')
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), next)

  const other = await openDomain(t)
  const rotten = await pushLarge(other, t.testdirName)
  rmSync(rotten.idx)
  rot(rotten.pack)
  const message = /^pack [0-9a-f]{64} is not stored as it was once written down$/
  await t.rejects(collecting(other)(rotten.repo.id, options), { code: 'corrupt', message })
  t.equal((await live(other, rotten.repo.id)).length, 2)
})

t.test('a pack in the database has to hash to its name', async (t) => {
  const domain = await openDomain(t)
  const { repo } = await pushMany(domain, 'inline', 2, t.testdir())
  // In the last entry, before the trailer; and all of it is read anew, as from a database that was put back.
  await domain.db.execute(
    sql`UPDATE pack_inline SET pack = set_byte(pack, length(pack) - 25, get_byte(pack, length(pack) - 25) # 1) WHERE pack_id = (SELECT max(id) FROM packs)`,
  )
  await domain.db.execute(sql`UPDATE repositories SET packs_ver = packs_ver - 1`)
  const before = await packRows(domain, repo.id)
  await t.rejects(collecting(domain)(repo.id, options), { code: 'corrupt' })
  t.same(await packRows(domain, repo.id), before)
})

t.test('an open snapshot reads what it knew while it is collected', async (t) => {
  const domain = await openDomain(t)
  const { repo, last } = await pushMany(domain, 'snapshot', 3, t.testdir())
  const view = await domain.packs.openSnapshot(repo.id)
  await collecting(domain)(repo.id, options)
  const entry = view.find(oidBytes(last as Oid), 'credit')
  t.ok((await view.read(Math.floor(entry / 2 ** 32), view.offsetOf(entry), view.endOf(entry))).length > 0)
  view.release()
})

t.test('stored bytes that only old packs need are given up once their rows go', async (t) => {
  const domain = await openDomain(t)
  const { repo, work, last } = await pushMany(domain, 'bytes', 1, t.testdir())
  const next = await work.commit({ big: randomBytes(300_000) })
  await pushed(domain, repo, { commands: [move('refs/heads/main', last, next)], pack: await work.pack(next, `^${last}`) })
  t.equal((await collecting(domain)(repo.id, options)).outcome, 'collected')
  t.match(await live(domain, repo.id), [{ objects: 7 }])
  t.match(await cloneObjects(domain, repo.id, join(t.testdirName, 'after')), next)
})
