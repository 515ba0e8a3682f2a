import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { compareWithGit } from '../support/compare-with-git.js'
import { dice } from '../support/dice.js'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { createEmpty, gitText } from '../support/hub-git.js'
import { randomRepo } from '../support/random-repo.js'

const hub = await startHub(t)

const filters = [
  'blob:none',
  'blob:limit=40',
  'blob:limit=1k',
  'tree:0',
  'tree:1',
  'tree:2',
  'combine:tree:3+blob:limit=30',
  'combine:combine:tree%3A2+blob%3Anone+blob:limit=1m',
]

for (const [n, filter] of filters.entries()) {
  const version = String(2 - (n % 2) * 2)
  t.test(`protocol v${version}: ${filter} leaves out what git leaves out, and the rest comes when it is needed`, async (t) => {
    const dir = t.testdir()
    const bare = join(dir, 'origin')
    await mkdir(bare)
    await git(['init', '-q', '--bare', '.'], { cwd: bare })
    await git(['config', 'uploadpack.allowFilter', 'true'], { cwd: bare })
    await git(['config', 'uploadpack.allowAnySHA1InWant', 'true'], { cwd: bare })
    const repo = randomRepo(bare, dice(104_729 * (n + 1)))
    await repo.grow(20)
    const remote = await createEmpty(hub, `filtered-${n}`)
    const push = () => git(['push', '-q', '--mirror', remote], { cwd: bare })
    await push()
    const tip = await gitText(bare, 'rev-parse', 'main')
    const [path = ''] = (await gitText(bare, 'ls-tree', '-r', '--name-only', 'main')).split('\n')
    const steps = [
      [`--filter=${filter}`],
      ['!', 'cat-file', '-p', `${tip}:${path}`],
      [],
      ['!', 'ls-tree', '-r', 'main'],
      ['!', 'diff', '--stat', 'main~1', 'main'],
      [`--filter=${filter}`, '--depth=2'],
      ['--unshallow'],
    ]
    await compareWithGit(t, dir, { bare, remote, config: ['-c', `protocol.version=${version}`] }, steps, async () => {
      await repo.grow(6)
      await push()
    })
  })
}
