import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import t from 'tap'
import { oidFromBytes } from '../../../protocol/oid.js'
import { objectTypes } from '../../../protocol/types.js'
import { sql } from '../../../src/db/sql.js'
import { create, move, openDomain, remove, slices, workTree } from '../../support/domain.js'

const domain = await openDomain(t)
const { db } = domain
const work = await workTree(t.testdir())

async function count(table: 'ref_log' | 'outbox' | 'audit' | 'updates' | 'packs' | 'blob_link', repoId: number): Promise<number> {
  const [row] = await db.query<{ n: number }>({ text: `SELECT count(*) AS n FROM ${table} WHERE repo_id = $1`, values: [repoId] })
  return row!.n
}

async function refsOf(repoId: number): Promise<Record<string, string>> {
  const rows = await db.query<{ name: Buffer; oid: Buffer }>(sql`SELECT name, oid FROM refs WHERE repo_id = ${repoId} ORDER BY name`)
  return Object.fromEntries(rows.map(({ name, oid }) => [name.toString(), oidFromBytes(oid)]))
}

t.test('a first push makes refs, pack, histories and HEAD in one transaction', async (t) => {
  const repo = await domain.makeRepo('first')
  const first = await work.commit({ a: 'a' })
  const results = await domain.push(repo, { commands: [create('refs/heads/master', first)], pack: await work.pack(first) })
  t.same(results, [{ name: 'refs/heads/master', kind: 'ok' }])
  t.same(await refsOf(repo.id), { 'refs/heads/master': first })
  const now = await domain.current('first')
  t.equal(now.headRef, 'refs/heads/master')
  t.ok(now.versions.refsVer > repo.versions.refsVer)
  t.ok(now.versions.packsVer > repo.versions.packsVer)
  t.ok(now.bytes > 0)
  t.equal(await count('ref_log', repo.id), 1)
  t.equal(await count('packs', repo.id), 1)
  t.equal(await count('blob_link', repo.id), 0, 'a small pack lives in the database')
  const events = await count('outbox', repo.id)
  const updates = await count('updates', repo.id)
  const again = await domain.push(now, { commands: [create('refs/heads/other', 'f'.repeat(40))] })
  t.match(again, [{ kind: 'refused', reason: 'missing necessary objects' }])
  t.equal(await count('outbox', repo.id), events, 'a refusal leaves nothing behind')
  t.equal(await count('updates', repo.id), updates)
})

t.test('a pack over 128 KiB goes to the store with its sidecars, synced and linked; the same bytes again are one pack', async (t) => {
  const repo = await domain.makeRepo('large')
  const noise = randomBytes(300_000)
  const oid = await work.commit({ noise })
  const pack = await work.pack(oid)
  t.ok(pack.length > 128 * 1024)
  t.match(await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack }), [{ kind: 'ok' }])
  const names = (await readdir(domain.blobDirectory, { recursive: true })).filter((name) => /\.(pack|idx|rev|tbl)$/.test(name))
  t.same(new Set(names.map((name) => name.split('.')[1])), new Set(['idx', 'pack', 'rev', 'tbl']))
  t.equal(names.length, 4)
  t.equal(await count('blob_link', repo.id), 4)
  t.match(await domain.push(await domain.current('large'), { commands: [create('refs/heads/again', oid)], pack }), [{ kind: 'ok' }])
  t.equal(await count('packs', repo.id), 1)
  t.equal(domain.spool.usedBytes, 0)

  const other = await domain.makeRepo('large-too')
  t.match(await domain.push(other, { commands: [create('refs/heads/main', oid)], pack }), [{ kind: 'ok' }])
  t.equal((await readdir(domain.blobDirectory, { recursive: true })).filter((name) => name.endsWith('.pack')).length, 1, 'stored once for both')

  const snapshot = await domain.packs.openSnapshot(other.id)
  const entry = snapshot.find(Buffer.from(oid, 'hex'), 'credit')
  t.equal(snapshot.typeOf(entry), objectTypes.commit)
  t.ok(existsSync(domain.blobDirectory))
  snapshot.release()
})

t.test('a thin pack is completed, and a later one relies on what is here', async (t) => {
  const repo = await domain.makeRepo('thin')
  const text = Array.from({ length: 500 }, (_, i) => `line ${i} ${(i * 7919) % 1000}`).join('\n')
  const base = await work.commit({ text })
  await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
  const next = await work.commit({ text: `${text}\nand more` })
  const thin = await work.pack(next, `^${base}`)
  t.match(await domain.push(repo, { commands: [move('refs/heads/main', base, next)], pack: thin }), [{ kind: 'ok' }])
  const { siblings } = await domain.repos.repoInfo(await domain.current('thin'))
  t.match(
    siblings.find(({ path }) => path === 'text'),
    { size: Buffer.byteLength(`${text}\nand more`) },
  )
  const stranger = await domain.makeRepo('thin-elsewhere')
  await t.rejects(
    domain.push(stranger, { commands: [create('refs/heads/main', next)], pack: thin }),
    { code: 'bad-pack' },
    'bases of another repository do not count',
  )
})

t.test('a pack that refers to what nobody has is refused', async (t) => {
  const repo = await domain.makeRepo('holes')
  const parent = await work.commit({ p: 'p' })
  const child = await work.commit({ p: 'q' })
  const pack = await work.pack(child, `^${parent}`)
  await t.rejects(domain.push(repo, { commands: [create('refs/heads/main', child)], pack }), { code: /missing-object|bad-pack/ })
  t.same(await refsOf(repo.id), {})
  t.equal(domain.spool.usedBytes, 0)
})

t.test('compare-and-swap, directory/file conflicts, deletes before creates, atomic', async (t) => {
  const repo = await domain.makeRepo('refs')
  const one = await work.commit({ one: '1' })
  const two = await work.commit({ two: '2' })
  const pack = await work.pack(two)
  const push = async (commands: Parameters<typeof domain.push>[1]['commands'], atomic = false) => {
    const results = await domain.push(await domain.current('refs'), { commands, pack, atomic })
    return results.map((result) => (result.kind === 'ok' ? 'ok' : result.reason))
  }
  t.same(await push([create('refs/heads/main', one), create('refs/heads/a', one)]), ['ok', 'ok'])
  t.same(await push([move('refs/heads/main', two, one)]), ['incorrect old value provided'])
  t.same(await push([create('refs/heads/main', two)]), ['reference already exists'])
  t.same(await push([create('refs/heads/a/b', one)]), ["'refs/heads/a' exists; cannot create 'refs/heads/a/b'"])
  t.same(await push([create('refs/heads/a/b', one), remove('refs/heads/a', one)]), ['ok', 'ok'])
  t.same(await push([create('refs/heads/a', one)]), ["refs below 'refs/heads/a/' exist; cannot create it"])
  t.same(await push([remove('refs/heads/main', one)]), ['deletion of the current branch prohibited'])
  t.same(await push([move('refs/heads/main', one, two), create('refs/heads/a', one)], true), [
    'atomic push failure',
    "refs below 'refs/heads/a/' exist; cannot create it",
  ])
  t.same(await push([move('refs/heads/main', one, two), create('refs/heads/a', one)]), ['ok', "refs below 'refs/heads/a/' exist; cannot create it"])
  t.same(await push([remove('refs/heads/none', one)]), ['ok'], 'deleting what is not there is what was wanted')
  t.same(await refsOf(repo.id), { 'refs/heads/a/b': one, 'refs/heads/main': two })
})

t.test('access that changed meanwhile is decided again, and only then', async (t) => {
  const repo = await domain.makeRepo('access')
  const oid = await work.commit({ access: 'x' })
  const pack = await work.pack(oid)
  let asked = 0
  const change = () => db.execute(sql`UPDATE repositories SET access_ver = access_ver + 1 WHERE id = ${repo.id}`).then(() => undefined)
  await t.rejects(domain.push(repo, { commands: [create('refs/heads/main', oid)], pack, before: change, authorise: async () => ++asked < 0 }), {
    code: 'forbidden',
  })
  t.equal(asked, 1)
  t.same(await refsOf(repo.id), {})
  const allowed = await domain.push(repo, { commands: [create('refs/heads/main', oid)], pack, before: change, authorise: async () => ++asked > 0 })
  t.match(allowed, [{ kind: 'ok' }])
  t.equal(asked, 2)
  await domain.push(await domain.current('access'), { commands: [create('refs/heads/b', oid)], authorise: async () => ++asked > 0 })
  t.equal(asked, 2, 'nothing changed: nobody asks')
})

t.test('what a push relies on is looked up again when the epoch moved', async (t) => {
  const repo = await domain.makeRepo('epoch')
  const base = await work.commit({ epoch: '1' })
  await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
  const next = await work.commit({ epoch: '2' })
  const pack = await work.pack(next, `^${base}`)
  const epoch = () => db.execute(sql`UPDATE repositories SET gc_epoch = gc_epoch + 1 WHERE id = ${repo.id}`)
  t.match(await domain.push(repo, { commands: [create('refs/heads/still', next)], pack, before: async () => void (await epoch()) }), [{ kind: 'ok' }])

  const last = await work.commit({ epoch: '3' })
  const lost = async () => {
    await db.execute(
      sql`UPDATE packs SET state = 'garbage', class = 3, changed_ver = (SELECT packs_ver + 1 FROM repositories WHERE id = ${repo.id}) WHERE repo_id = ${repo.id}`,
    )
    await db.execute(sql`UPDATE repositories SET gc_epoch = gc_epoch + 1, packs_ver = packs_ver + 1 WHERE id = ${repo.id}`)
  }
  const refused = await domain.push(repo, { commands: [create('refs/heads/lost', last)], pack: await work.pack(last, `^${next}`), before: lost })
  t.match(refused, [{ kind: 'refused', reason: 'missing necessary objects' }])
  const snapshot = await domain.packs.openSnapshot(repo.id)
  t.not(snapshot.find(Buffer.from(base, 'hex'), 'read'), -1, 'garbage can be read')
  t.equal(snapshot.find(Buffer.from(base, 'hex'), 'credit'), -1, 'and not relied on')
  snapshot.release()
  const whole = await domain.push(await domain.current('epoch'), { commands: [create('refs/heads/whole', last)], pack: await work.pack(last) })
  t.match(whole, [{ kind: 'ok' }], 'who brings everything gets through')
})

t.test('two at once on one branch: exactly one wins; on two branches: both', async (t) => {
  const repo = await domain.makeRepo('races')
  const base = await work.commit({ race: '0' })
  await domain.push(repo, { commands: [create('refs/heads/main', base)], pack: await work.pack(base) })
  const sides = [await work.commit({ race: '1' }), await work.commit({ race: '2' })]
  const packs = await Promise.all(sides.map((oid) => work.pack(oid, `^${base}`)))
  const one = await Promise.all(sides.map((oid, i) => domain.push(repo, { commands: [move('refs/heads/main', base, oid)], pack: packs[i] })))
  t.same(
    one
      .flat()
      .map(({ kind }) => kind)
      .toSorted(),
    ['ok', 'refused'],
  )
  const two = await Promise.all(sides.map((oid, i) => domain.push(repo, { commands: [create(`refs/heads/side${i}`, oid)], pack: packs[i] })))
  t.same(
    two.flat().map(({ kind }) => kind),
    ['ok', 'ok'],
  )
  t.equal(Object.keys(await refsOf(repo.id)).length, 3)
})

t.test('an update that began over an hour ago is refused by the database’s clock', async (t) => {
  const { applyUpdate } = await import('../../../src/repos/apply-update.js')
  const repo = await domain.makeRepo('slow')
  const oid = await work.commit({ slow: 'x' })
  const staged = await domain.packs.stage(undefined, {
    updateId: '018f0000-0000-7000-8000-000000000001',
    newOids: [],
    source: 'receive',
    slices: slices(),
    signal: new AbortController().signal,
    turnKeys: [],
    open: () => domain.packs.openSnapshot(repo.id),
  })
  const results = await applyUpdate(domain, {
    repoId: repo.id,
    updateId: '018f0000-0000-7000-8000-000000000001',
    staged,
    commands: [create('refs/heads/main', oid)],
    atomic: false,
    lfsOids: [],
    actorId: null,
    accessVersions: { repo: repo.versions.accessVer, actor: undefined },
    authorise: async () => true,
    pushOptions: [],
    startedAt: new Date(Date.now() - 61 * 60_000),
    action: 'repo.push',
  })
  t.match(results, [{ kind: 'refused', reason: 'the update took over an hour' }])
  await staged.dispose()
})
