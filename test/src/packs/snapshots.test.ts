import { randomBytes } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { sql } from '../../../src/db/sql.js'
import { create, move, openDomain, workTree, type Domain } from '../../support/domain.js'

const domain = await openDomain(t)
const { db, packs } = domain
const work = await workTree(t.testdir())

/** How many transactions the database has committed for us, but for this question. */
async function statementsDuring(work: () => Promise<unknown>): Promise<number> {
  const original = db.transaction
  let count = 0
  const spied = db as { transaction: typeof db.transaction }
  spied.transaction = (run, options) => {
    count++
    return original.call(db, run, options) as never
  }
  try {
    await work()
  } finally {
    spied.transaction = original
  }
  return count
}

const has = (snapshot: Awaited<ReturnType<Domain['packs']['openSnapshot']>>, oid: string) => snapshot.find(Buffer.from(oid, 'hex'), 'credit') !== -1

t.test('given versions that are known, a snapshot costs no SQL; without them it is read as it stands', async (t) => {
  const repo = await domain.makeRepo('known')
  const oid = await work.commit({ a: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const { versions } = await domain.current('known')
  const open = async () => (await packs.openSnapshot(repo.id, versions)).release()
  await open()
  t.equal(await statementsDuring(open), 0)
  t.equal(await statementsDuring(async () => (await packs.openSnapshot(repo.id)).release()), 1)
  t.equal(await statementsDuring(() => Promise.all([open(), open(), open()])), 0)
})

t.test('an open snapshot stays as it is while pushes go on', async (t) => {
  const repo = await domain.makeRepo('frozen')
  const one = await work.commit({ f: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', one)], pack: await work.pack(one) })
  const frozen = await packs.openSnapshot(repo.id)
  const two = await work.commit({ f: '2' })
  await domain.push(repo, { commands: [move('refs/heads/main', one, two)], pack: await work.pack(two, `^${one}`) })
  const now = await packs.openSnapshot(repo.id)
  t.same([has(frozen, two), has(now, two), has(frozen, one), has(now, one)], [false, true, true, true])
  t.equal(frozen.refs.list[0]?.oid, one)
  t.equal(now.refs.list[0]?.oid, two)
  t.same([frozen.packs.length, now.packs.length], [1, 2])
  t.same(
    now.packs.map(({ sha256, roots }) => [sha256.buffer.byteLength, roots!.buffer.byteLength]),
    [
      [32, 20],
      [32, 20],
    ],
    'what is kept for long holds no memory but its own',
  )
  frozen.release()
  frozen.release()
  now.release()
})

t.test('versions the database has not come to yet are not made up', async (t) => {
  const repo = await domain.makeRepo('behind')
  await t.rejects(packs.openSnapshot(repo.id, { ...repo.versions, packsVer: 99 }), { code: 'unavailable' })
  await t.rejects(packs.openSnapshot(999_999), { code: 'repo-not-found' })
})

t.test('who knew a class or a pack before learns of its change', async (t) => {
  const repo = await domain.makeRepo('classes')
  const oid = await work.commit({ c: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  ;(await packs.openSnapshot(repo.id)).release()
  const step = async (set: string) => {
    await db.execute({
      text: `UPDATE packs SET ${set}, changed_ver = (SELECT packs_ver + 1 FROM repositories WHERE id = $1) WHERE repo_id = $1`,
      values: [repo.id],
    })
    await db.execute(sql`UPDATE repositories SET packs_ver = packs_ver + 1 WHERE id = ${repo.id}`)
    const snapshot = await packs.openSnapshot(repo.id)
    const raw = Buffer.from(oid, 'hex')
    const seen = [snapshot.find(raw, 'credit') !== -1, snapshot.find(raw, 'read') !== -1]
    snapshot.release()
    return seen
  }
  t.same(await step('class = 2'), [false, true])
  t.same(await step("class = 3, state = 'garbage'"), [false, true])
  t.same(await step("class = 0, state = 'live'"), [true, true])
  t.same(await step("state = 'retired'"), [false, false])
})

t.test('a table that is not what its name says is corrupt, and nothing is made of it', async (t) => {
  // No room to remember the table that the push has made.
  const small = await openDomain(t, { tableBytes: 1 })
  const repo = await small.makeRepo('broken')
  const noise = randomBytes(200_000)
  const oid = await work.commit({ noise })
  await small.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  await nextTurn() // the push looks at the repository once more
  ;(await small.packs.openSnapshot(repo.id)).release()
  const [table] = (await readdir(small.blobDirectory, { recursive: true })).filter((name) => name.endsWith('.tbl'))
  const path = join(small.blobDirectory, table!)
  await rm(path)
  await t.rejects(small.packs.openSnapshot(repo.id), { code: 'corrupt', message: /its table is not in the store/ })
  await writeFile(path, 'CTBL and then nothing')
  await t.rejects(small.packs.openSnapshot(repo.id), { code: 'corrupt', message: /does not read back/ })
})

t.test('what nobody has open goes when there is no room; what is open stays whole', async (t) => {
  const small = await openDomain(t, { tableBytes: 1 })
  const [a, b] = [await small.makeRepo('a'), await small.makeRepo('b')]
  const oid = await work.commit({ small: 'x' })
  const pack = await work.pack(oid)
  for (const repo of [a, b]) await small.push(repo, { commands: [create('refs/heads/main', oid)], pack })
  const held = await small.packs.openSnapshot(a.id)
  ;(await small.packs.openSnapshot(b.id)).release()
  const entry = held.find(Buffer.from(oid, 'hex'), 'credit')
  const bytes = await held.read(0, held.offsetOf(entry), held.endOf(entry))
  t.ok(bytes.length > 0)
  held.release()
  const again = await small.packs.openSnapshot(a.id)
  t.ok(has(again, oid))
  again.release()
})

t.test('after a purge elsewhere nothing is read through what was open before, and all is loaded anew', async (t) => {
  const repo = await domain.makeRepo('purged-elsewhere')
  const oid = await work.commit({ p: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack: await work.pack(oid) })
  const { versions } = await domain.current('purged-elsewhere')
  const before = await packs.openSnapshot(repo.id)
  t.ok([...packs.known()].some(([id, epoch]) => id === repo.id && epoch === 1))
  await packs.forgetBefore(repo.id, 1)
  before.checkEra()
  await db.execute(sql`UPDATE repositories SET purge_epoch = 2 WHERE id = ${repo.id}`)
  await packs.forgetBefore(repo.id, 2)
  t.throws(() => before.checkEra(), { code: 'cancelled' })
  await t.rejects(before.read(0, 0, 20), { code: 'cancelled' })
  const after = await packs.openSnapshot(repo.id, versions)
  t.equal(after.versions.purgeEpoch, 2)
  after.checkEra()
  t.ok(has(after, oid))
  before.release()
  after.release()
  await packs.forgetBefore(repo.id, 3)
  t.notOk(
    [...packs.known()].some(([id]) => id === repo.id),
    'of what nobody has open nothing is kept',
  )
})
