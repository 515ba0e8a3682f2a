import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { streamPack } from '../../src/repos/pack-stream.js'
import { git } from '../support/git.js'
import { plainCapabilities, post, pushHead, zero } from '../support/hostile.js'
import { startHub } from '../support/hub.js'

const branches = 50_000
/** The hub takes no more at once. */
const refsAPush = 5_000

t.test('50,000 refs are listed as C git lists them, and again after each push', async (t) => {
  const hub = await startHub(t)
  const folder = t.testdir()
  const [work, bare] = [join(folder, 'work'), join(folder, 'bare.git')]
  await git(['init', '-q', '-b', 'main', work])
  const say = async (...args: readonly string[]): Promise<string> => (await git(args, { cwd: work })).stdout.toString().trim()
  await say('commit', '-q', '--allow-empty', '-m', 'one')
  await say('tag', '-a', '-m', 'a note', 'v1')
  const tip = await say('rev-parse', 'HEAD')
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/many', empty: true })
  const remote = hub.remote('admin/many')
  await git(['clone', '-q', '--bare', work, bare])
  await say('push', '-q', remote, 'main', 'v1')

  // Not by git's own push: the client alone takes ten minutes for so many.
  const names = Array.from({ length: branches }, (_, i) => `refs/heads/b${i}`)
  const noPack = await buffer(streamPack([]))
  for (let at = 0; at < branches; at += refsAPush) {
    const head = pushHead(
      names.slice(at, at + refsAPush).map((name) => [zero, tip, name]),
      plainCapabilities,
    )
    t.match((await post(hub, 'admin/many', 'git-receive-pack', Buffer.concat([head, noPack]))).text, 'unpack ok')
  }
  await git(['update-ref', '--stdin'], { cwd: bare, input: Buffer.from(names.map((name) => `create ${name} ${tip}\n`).join('')) })

  const same = async (count: number, ...patterns: readonly string[]): Promise<void> => {
    for (const version of ['0', '2']) {
      const list = (url: string) => say('-c', `protocol.version=${version}`, 'ls-remote', '--symref', url, ...patterns)
      const [ours, theirs] = [await list(remote), await list(bare)]
      t.equal(theirs.split('\n').length, count)
      t.ok(ours === theirs, `the same lines in v${version}`)
    }
  }
  // Both lines of HEAD, main, v1 and what it peels to.
  await same(branches + 5)
  await same(11, 'refs/heads/b4999*')

  await say('commit', '-q', '--allow-empty', '-m', 'two')
  await say('tag', '-a', '-m', 'another', 'v2')
  for (const refs of [['HEAD:refs/heads/b777'], ['v2', ':refs/tags/v1'], [':refs/heads/b49999', 'HEAD:refs/heads/zz', 'HEAD:refs/heads/a']]) {
    for (const url of [remote, bare]) await say('push', '-q', url, ...refs)
  }
  await same(branches + 6)
})
