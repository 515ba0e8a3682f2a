import { join } from 'node:path'
import t from 'tap'
import { answer, clientWith, closureIn, oidIn } from '../../support/fetches.js'
import { git } from '../../support/git.js'
import { importHistory } from '../../support/histories.js'
import { viewOf } from '../../support/pack-view.js'

t.test('a hundred thousand objects, and the last of them', async (t) => {
  const dir = t.testdir()
  const bare = await clientWith(join(dir, 'origin'), dir, [])
  await importHistory(bare, 13_000)
  await git(['repack', '-a', '-d', '-q', '--no-write-bitmap-index'], { cwd: bare })
  const view = await viewOf(bare)
  const wants = [...new Set(view.refs.list.map(({ oid }) => oid))]
  const from = performance.now()
  const pack = await answer(view, { wants })
  const ms = performance.now() - from
  const count = pack.readUInt32BE(8)
  t.comment(`${count} objects, ${pack.length} bytes in ${Math.round(ms)} ms, ${view.reads} reads`)
  t.ok(count > 100_000)
  t.equal(count, (await closureIn(bare, ['--all'])).length)
  const client = await clientWith(join(dir, 'client'), bare, [])
  await git(['index-pack', '--strict', '--stdin'], { cwd: client, input: pack })

  // One commit costs what it changed, and not a walk of everything the client has.
  let steps = 0
  const haves = [await oidIn(bare, 'main~1')]
  const last = await answer(view, { wants: [await oidIn(bare, 'main')], haves }, { slices: { pause: () => void steps++ } })
  t.equal(last.readUInt32BE(8), (await closureIn(bare, ['main', '^main~1'])).length)
  t.ok(steps < 200, `${steps} steps`)
})
