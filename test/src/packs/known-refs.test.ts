import t from 'tap'
import type { PushCommand } from '../../../protocol/types.js'
import type { RepoState } from '../../../src/db/versions.js'
import { findSnapshotRow } from '../../../src/db/packs.js'
import { sql } from '../../../src/db/sql.js'
import { readRefs, type KnownRefs } from '../../../src/packs/known-refs.js'
import { create, move, openDomain, remove, workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'

const domain = await openDomain(t)
const { db } = domain
const work = await workTree(t.testdir())
const [one, two] = [await work.commit({ f: '1' }), await work.commit({ f: '2' })]
await git(['tag', '-a', '-m', 'note', 'v1', two], { cwd: work.cwd })
const tag = (await git(['rev-parse', 'v1'], { cwd: work.cwd })).stdout.toString().trim()
const pack = await work.pack(two, tag)
const many = Array.from({ length: 600 }, (_, i) => `refs/heads/b${1000 + i}`)

const read = (repoId: number, known?: KnownRefs): Promise<KnownRefs> =>
  db.transaction(async (tx) => readRefs(tx, repoId, (await findSnapshotRow(tx, repoId))!, known), { isolation: 'repeatable read', readOnly: true })

const linesOf = ({ list }: KnownRefs): string => `${list.head}\n${Buffer.concat(list.blocks.map(({ lines }) => lines)).toString('latin1')}`

/** Whether something of what was known is still there: only what was brought forward shares anything. */
const isBrought = (now: KnownRefs, known: KnownRefs): boolean => now.list.blocks.some((block) => known.list.blocks.includes(block))

/** What is known, brought forward, is what is read. Comes back with whether it was. */
async function check(repoId: number, known: KnownRefs): Promise<{ brought: boolean; now: KnownRefs }> {
  const [now, whole] = [await read(repoId, known), await read(repoId)]
  t.equal(linesOf(now), linesOf(whole))
  t.same([now.refsVer, now.logEnd], [whole.refsVer, whole.logEnd])
  return { brought: isBrought(now, known), now }
}

async function makeRepo(name: string): Promise<{ repo: RepoState; known: KnownRefs; push: (...commands: readonly PushCommand[]) => Promise<void> }> {
  const repo = await domain.makeRepo(name)
  const push = async (...commands: readonly PushCommand[]): Promise<void> => {
    for (const { kind } of await domain.push(repo, { commands, pack })) t.equal(kind, 'ok')
  }
  await push(create('refs/heads/main', one), ...many.map((ref) => create(ref, one)))
  return { repo, known: await read(repo.id), push }
}

t.test('refs are brought forward by what was logged since', async (t) => {
  const { repo, known, push } = await makeRepo('forward')
  t.same(await check(repo.id, known), { brought: true, now: known }, 'by nothing at all')

  await push(move('refs/heads/main', one, two))
  let { brought, now } = await check(repo.id, known)
  t.ok(brought)
  t.equal(now.list.find(known.list.head)?.oid, two)

  await push(create('refs/tags/v1', tag), remove(many[7]!, one), create('refs/internal/pr/1', two))
  await push(move(many[9]!, one, two), create('refs/heads/a', one))
  await push(move(many[9]!, two, one), remove('refs/heads/a', one))
  ;({ brought, now } = await check(repo.id, now))
  t.ok(brought, 'by several updates at once')
  t.same(now.list.list.at(-1), { name: 'refs/tags/v1', oid: tag, peeled: two })
  t.equal(now.list.count, 601)

  await push(remove('refs/internal/pr/1', two))
  t.ok((await check(repo.id, now)).brought)
  t.ok((await check(repo.id, known)).brought, 'from further back')
})

t.test('HEAD moves without a step of any ref', async (t) => {
  const { repo, known } = await makeRepo('head')
  await db.execute(sql`UPDATE repositories SET head_ref = 'refs/heads/b1003' WHERE id = ${repo.id}`)
  const { brought, now } = await check(repo.id, known)
  t.ok(brought)
  t.equal(now.list.head, 'refs/heads/b1003')
})

t.test('what was never logged is read whole each time', async (t) => {
  const repo = await domain.makeRepo('new')
  const known = await read(repo.id)
  t.equal(known.logEnd, undefined)
  await domain.push(repo, { commands: many.map((ref) => create(ref, one)), pack })
  t.notOk((await check(repo.id, known)).brought)
})

t.test('a log that does not tell all is not believed', async (t) => {
  const { repo, known, push } = await makeRepo('untold')
  await push(move('refs/heads/main', one, two))

  await t.test('its last line is gone', async () => {
    await db.execute(sql`DELETE FROM ref_log WHERE repo_id = ${repo.id} AND id <= ${known.logEnd!.id}`)
    t.notOk((await check(repo.id, known)).brought)
  })
  await t.test('a line since is gone', async () => {
    const at = await read(repo.id)
    await push(move(many[1]!, one, two))
    await push(move(many[2]!, one, two))
    await db.execute(sql`DELETE FROM ref_log WHERE repo_id = ${repo.id} AND name = ${Buffer.from(many[1]!)}`)
    t.notOk((await check(repo.id, at)).brought)
  })
  await t.test('a ref was moved by hand', async () => {
    const at = await read(repo.id)
    await db.execute(sql`UPDATE refs SET oid = ${Buffer.from(two, 'hex')} WHERE repo_id = ${repo.id} AND name = ${Buffer.from(many[3]!)}`)
    await db.execute(sql`UPDATE repositories SET refs_ver = refs_ver + 1 WHERE id = ${repo.id}`)
    t.notOk((await check(repo.id, at)).brought)
  })
  await t.test('a step does not begin where the ref was', async () => {
    const at = await read(repo.id)
    await push(move(many[4]!, one, two))
    await db.execute(
      sql`UPDATE ref_log SET old_oid = ${Buffer.from(two, 'hex')} WHERE repo_id = ${repo.id} AND name = ${Buffer.from(many[4]!)} AND old_oid IS NOT NULL`,
    )
    t.notOk((await check(repo.id, at)).brought)
  })
  await t.test('there are more than 2,000 steps', async () => {
    const at = await read(repo.id)
    await push(...Array.from({ length: 2001 }, (_, i) => create(`refs/heads/c${i}`, one)))
    t.notOk((await check(repo.id, at)).brought)
  })
})

t.test('a database that was put back, and went another way since, is read whole', async (t) => {
  const { repo, known, push } = await makeRepo('put-back')
  const before = await db.query<{ refs_ver: number }>(sql`SELECT refs_ver FROM repositories WHERE id = ${repo.id}`)
  await push(move('refs/heads/main', one, two))
  const later = await read(repo.id, known)
  // As it was before that push, log and ids too.
  await db.execute(sql`DELETE FROM ref_log WHERE repo_id = ${repo.id} AND id > ${known.logEnd!.id}`)
  await db.execute(sql`UPDATE refs SET oid = ${Buffer.from(one, 'hex')} WHERE repo_id = ${repo.id} AND name = 'refs/heads/main'`)
  await db.execute(sql`UPDATE repositories SET refs_ver = ${before[0]!.refs_ver} WHERE id = ${repo.id}`)
  t.notOk((await check(repo.id, later)).brought, 'it is behind')
  await db.execute(sql`SELECT setval(pg_get_serial_sequence('ref_log', 'id'), ${known.logEnd!.id})`)
  await push(remove(many[0]!, one))
  await push(remove(many[1]!, one))
  const { brought, now } = await check(repo.id, later)
  t.notOk(brought, 'the line has the same id, and is of another update')
  t.equal(now.list.find(later.list.head)?.oid, one)
})
