import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { compareWithGit } from '../support/compare-with-git.js'
import { dice } from '../support/dice.js'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { createEmpty, gitText } from '../support/hub-git.js'
import { firstSeconds, randomRepo } from '../support/random-repo.js'

const hub = await startHub(t)
const versions = ['0', '1', '2'] as const

for (const version of versions) {
  t.test(`protocol v${version}: histories cut and continued at random end where those of git end`, async (t) => {
    const dir = t.testdir()
    // v1 is v0 behind one more line.
    for (let seed = 1; seed <= (version === '1' ? 1 : 3); seed++) {
      const random = dice(seed * 7919 + Number(version))
      const bare = join(dir, `origin-${seed}`)
      await mkdir(bare)
      await git(['init', '-q', '--bare', '.'], { cwd: bare })
      const repo = randomRepo(bare, random)
      await repo.grow(8 + random(30))
      const remote = await createEmpty(hub, `random-v${version}-${seed}`)
      const push = () => git(['push', '-q', '--mirror', remote], { cwd: bare })
      await push()
      const some = random(2) === 0 ? ['main'] : []
      const since = (from: number) => `--shallow-since=${firstSeconds + Math.floor((from * (repo.now - firstSeconds)) / 10)}`
      const steps = [
        [[`--depth=${1 + random(4)}`, ...some], [since(7), ...some], [`--shallow-exclude=${repo.tags[0] ?? 'main'}`]][random(3)]!,
        [`--depth=${1 + random(6)}`],
        [],
        ['--deepen=1'],
        [[`--deepen=${1 + random(3)}`], [since(random(9))], [`--depth=${2 + random(8)}`]][random(3)]!,
        ['--depth=1', ...some],
        [`--shallow-exclude=${repo.tags.at(-1) ?? 'main'}`],
        [since(2)],
        ['--unshallow'],
        [],
      ]
      const servers = { bare, remote, config: ['-c', `protocol.version=${version}`] }
      await compareWithGit(t, join(dir, String(seed)), servers, steps, async () => {
        await repo.grow(5)
        await push()
      })
    }
  })
}

for (const version of versions) {
  t.test(`protocol v${version}: one commit is cloned, built upon, pushed, and the rest fetched after all`, async (t) => {
    const dir = t.testdir()
    const run = async (cwd: string, ...args: string[]) => gitText(cwd, '-c', `protocol.version=${version}`, ...args)
    const remote = await createEmpty(hub, `one-commit-v${version}`)
    const work = join(dir, 'work')
    await git(['init', '-q', '-b', 'main', work])
    for (let i = 0; i < 5; i++) await git(['commit', '-q', '--allow-empty', '-m', `commit ${i}`], { cwd: work })
    await git(['tag', '-a', '-m', 'tagged', 'v1'], { cwd: work })
    await run(work, 'push', '-q', remote, 'main', 'v1')
    const clone = join(dir, 'clone')
    await run(dir, 'clone', '-q', '--depth', '1', remote, clone)
    t.equal(await gitText(clone, 'log', '--format=%s'), 'commit 4')
    t.equal(await gitText(clone, 'tag'), 'v1', 'the tag of what is sent comes along')
    await git(['commit', '-q', '--allow-empty', '-m', 'on top'], { cwd: clone })
    await run(clone, 'push', '-q', 'origin', 'main')
    await run(clone, 'fetch', '-q', '--depth', '3')
    t.equal(await gitText(clone, 'log', '--format=%s'), 'on top\ncommit 4\ncommit 3')
    await run(clone, 'fetch', '-q', '--unshallow')
    t.equal(await gitText(clone, 'rev-parse', '--is-shallow-repository'), 'false')
    await run(work, 'pull', '-q', '--ff-only', remote, 'main')
    t.equal(await gitText(work, 'rev-list', '--count', 'HEAD'), '6')
    for (const cwd of [work, clone]) await git(['fsck', '--strict', '--full'], { cwd })
  })
}

t.test('a push that would cut the history of the hub is refused: shallow update not allowed', async (t) => {
  const dir = t.testdir()
  const [origin, empty] = [await createEmpty(hub, 'cut-origin'), await createEmpty(hub, 'cut-target')]
  const work = join(dir, 'work')
  await git(['init', '-q', '-b', 'main', work])
  for (let i = 0; i < 3; i++) await git(['commit', '-q', '--allow-empty', '-m', `commit ${i}`], { cwd: work })
  await git(['push', '-q', origin, 'main'], { cwd: work })
  const clone = join(dir, 'clone')
  await git(['clone', '-q', '--depth', '1', origin, clone])
  const { code, stderr } = await git(['push', empty, 'main'], { cwd: clone, ok: false })
  t.not(code, 0)
  t.match(stderr, '! [remote rejected] main -> main (shallow update not allowed)')
  t.match(stderr, `remote: missing necessary objects: ${await gitText(work, 'rev-parse', 'main~1')}`)
  t.equal(await gitText(clone, 'ls-remote', empty), '')
})
