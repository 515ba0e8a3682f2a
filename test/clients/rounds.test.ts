import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sql } from '../../src/db/sql.js'
import { packKey } from '../../src/storage/keys.js'
import { never } from '../support/domain.js'
import { git } from '../support/git.js'
import { gitText } from '../support/hub-git.js'
import { indexedByGit } from '../support/packs.js'
import { diceOf } from '../support/dice.js'
import { foldBeside } from '../support/second-folder.js'
import { serveHub } from '../support/served-hub.js'
import { Person } from '../support/two-people.js'

const rounds = Number(process.env['CAIRN_TEST_ROUNDS'] ?? 50)
const hub = await serveHub(t)
const fold = foldBeside(t, hub)

t.test(`${rounds} rounds of pushes by two people, between folds and collections, leave what plain git has`, async (t) => {
  // Each has dice of their own, so that what they do is the same however fast the others are.
  const dice = diceOf(7)
  const tidyDice = diceOf(8)
  const dir = t.testdir()
  const { body, status } = await hub.api('POST', '/api/cairn/repos', { type: 'model', id: 'admin/rounds', empty: true, private: true })
  t.equal(status, 200, JSON.stringify(body))
  const url = `${hub.url.replace('//', `//user:${hub.token}@`)}/admin/rounds`
  const plain = join(dir, 'plain.git')
  await git(['init', '-q', '--bare', plain])
  const people = [await Person.create(join(dir, 'a.git'), url, plain, diceOf(9)), await Person.create(join(dir, 'b.git'), url, plain, diceOf(10))]
  const [{ id: repoId }] = (await hub.db.query<{ id: number }>(sql`SELECT id FROM repositories WHERE name = 'rounds'`)) as [{ id: number }]
  const counts = { taken: 0, refused: 0, folds: 0, collections: 0, packs: 0 }

  const tidy = async () => {
    counts.folds += (await fold(repoId, never)).length
    if (tidyDice(2) === 0) return
    const { status, body } = await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
    const figures = body as { packs: { collected: number }; failed: unknown[] }
    if (status !== 200 || figures.failed.length > 0) throw new Error(`gc answered ${status}: ${JSON.stringify(body)}`)
    counts.collections += figures.packs.collected
  }

  /** Each pack that the hub has, as git sees it. The plain repository still has every object there ever was. */
  const verifyPacks = async () => {
    const rows = await hub.db.query<{ sha256: Buffer; pack: Buffer | null; objects: number }>(
      sql`SELECT sha256, pack, objects FROM packs LEFT JOIN pack_inline ON pack_id = id WHERE repo_id = ${repoId} AND state <> 'retired'`,
    )
    for (const { sha256, pack, objects } of rows) {
      const bytes = pack ?? (await readFile(join(hub.dataDirectory, 'blobs', packKey(sha256))))
      const seen = await indexedByGit(bytes, plain)
      if (seen.objects.length !== objects) throw new Error(`pack ${sha256.toString('hex')} has ${seen.objects.length} objects, not ${objects}`)
    }
    counts.packs += rows.length
  }

  const refsOf = async (repository: string) => gitText(dir, 'ls-remote', repository)
  const objectsOf = async (folder: string) => (await gitText(folder, 'rev-list', '--objects', '--no-object-names', '--all')).split('\n').toSorted()

  for (let round = 1; round <= rounds; round++) {
    const working = people[dice(2)]!.work()
    if (dice(4) === 0) await Promise.all([working, tidy()])
    const { what, refspecs, hub: byHub, plain: byGit } = await working
    const said = `round ${round}: ${what} ${refspecs.join(' ')}`
    if (byHub.code !== byGit.code) t.fail(`${said}: git ends with ${byGit.code}, ${byGit.stderr}; with the hub ${byHub.code}, ${byHub.stderr}`)
    counts[byGit.code === 0 ? 'taken' : 'refused'] += 1
    if (dice(6) === 0) await tidy()
    const [ours, theirs] = [await refsOf(url), await refsOf(plain)]
    if (ours !== theirs) return t.equal(ours, theirs, said)
    if (round % 25 > 0 && round < rounds) continue
    const clone = join(dir, `clone-${round}.git`)
    await git(['clone', '-q', '--mirror', url, clone])
    await git(['fsck', '--strict', '--full'], { cwd: clone })
    t.same(await objectsOf(clone), await objectsOf(plain), `objects after round ${round}`)
    for (const person of people) await person.fetch()
    await verifyPacks()
  }
  t.comment(JSON.stringify(counts))
  for (const [what, count] of Object.entries(counts)) t.ok(count > 0, `${what}: ${count}`)
})
