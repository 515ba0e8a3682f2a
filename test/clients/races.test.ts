import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { projectRoot, startHub } from '../support/hub.js'
import { spawnSync } from 'node:child_process'

const hub = await startHub(t)

async function emptyRepo(name: string): Promise<string> {
  const { status } = await hub.api('POST', '/api/cairn/repos', { type: 'model', id: `admin/${name}`, empty: true })
  t.equal(status, 200, `${name} was made`)
  return hub.remote(`admin/${name}`)
}

async function commit(cwd: string, message: string): Promise<string> {
  await git(['commit', '-q', '--allow-empty', '-m', message], { cwd })
  return (await git(['rev-parse', 'HEAD'], { cwd })).stdout.toString().trim()
}

async function tips(remote: string): Promise<Map<string, string>> {
  const lines = (await git(['ls-remote', '--heads', remote])).stdout.toString().trim().split('\n').filter(Boolean)
  return new Map(lines.map((line) => line.split('\t').toReversed() as [string, string]))
}

t.test('two pushers on two branches lose no ref', async (t) => {
  const remote = await emptyRepo('two-branches')
  const dir = t.testdir()
  const pusher = async (branch: string) => {
    const cwd = join(dir, branch)
    await git(['init', '-q', '-b', branch, cwd])
    for (let round = 0; round < 200; round++) {
      const tip = await commit(cwd, `${branch} ${round}`)
      await git(['push', '-q', remote, branch], { cwd })
      t.equal((await tips(remote)).get(`refs/heads/${branch}`), tip)
    }
  }
  await Promise.all([pusher('left'), pusher('right')])
  t.equal((await tips(remote)).size, 2)
})

t.test('of two pushers on one branch exactly one wins', async (t) => {
  const remote = await emptyRepo('one-branch')
  const dir = t.testdir()
  const left = join(dir, 'left')
  await git(['init', '-q', '-b', 'main', left])
  await commit(left, 'root')
  await git(['push', '-q', remote, 'main'], { cwd: left })
  const right = join(dir, 'right')
  await git(['clone', '-q', remote, right])
  for (let round = 0; round < 25; round++) {
    const [a, b] = await Promise.all([commit(left, `left ${round}`), commit(right, `right ${round}`)])
    const codes = (
      await Promise.all([
        git(['push', '-q', remote, 'main'], { cwd: left, ok: false }),
        git(['push', '-q', remote, 'main'], { cwd: right, ok: false }),
      ])
    ).map(({ code }) => code === 0)
    t.equal(codes.filter(Boolean).length, 1, `round ${round}`)
    t.equal((await tips(remote)).get('refs/heads/main'), codes[0] ? a : b)
    const loser = codes[0] ? right : left
    await git(['fetch', '-q', remote, 'main'], { cwd: loser })
    await git(['reset', '-q', '--hard', 'FETCH_HEAD'], { cwd: loser })
  }
})

t.test('clones are whole while somebody force-pushes', async (t) => {
  const remote = await emptyRepo('forced')
  const dir = t.testdir()
  const work = join(dir, 'work')
  await git(['init', '-q', '-b', 'main', work])
  await commit(work, 'root')
  await git(['push', '-q', remote, 'main'], { cwd: work })
  let done = false
  const force = async () => {
    for (let round = 0; round < 40; round++) {
      await writeFile(join(work, 'file'), `round ${round}\n`.repeat(1000))
      await git(['add', '-A'], { cwd: work })
      await git(['commit', '-q', '--amend', '-m', `root ${round}`], { cwd: work })
      await git(['push', '-q', '--force', remote, 'main'], { cwd: work })
    }
    done = true
  }
  let clones = 0
  const clone = async () => {
    while (!done) {
      const to = join(dir, `clone-${clones++}`)
      await git(['clone', '-q', remote, to])
      await git(['fsck', '--strict'], { cwd: to })
    }
  }
  await Promise.all([force(), clone()])
  t.ok(clones > 3, `${clones} clones`)
})

t.test('a second hub on the same data is refused, and says why', async (t) => {
  const second = spawnSync(process.execPath, [join(projectRoot, 'build/src/cli/main.js'), 'serve'], {
    env: { ...process.env, CAIRN_DATA: hub.dataDirectory, CAIRN_PORT: '0' },
    encoding: 'utf8',
    timeout: 30_000,
  })
  t.not(second.status, 0)
  t.match(second.stderr, /another hub|already/i)
  t.equal((await fetch(`${hub.url}/readyz`)).status, 200, 'the first goes on')
})
