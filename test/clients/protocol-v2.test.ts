import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { post, v2 } from '../support/hostile.js'
import { startHub } from '../support/hub.js'
import { createEmpty, gitText } from '../support/hub-git.js'
import { pkts } from '../support/wire.js'

const hub = await startHub(t)

/** A repository of three commits with a tag, here and in the hub. */
async function publish(name: string, folder: string): Promise<{ readonly work: string; readonly remote: string }> {
  const work = join(folder, 'work')
  await mkdir(work, { recursive: true })
  await git(['init', '-q', '-b', 'main', '.'], { cwd: work })
  for (const n of ['one', 'two', 'three']) await git(['commit', '-q', '--allow-empty', '-m', n], { cwd: work })
  await git(['tag', '-a', '-m', 'tagged', 'v1', 'main~1'], { cwd: work })
  const remote = await createEmpty(hub, name)
  await git(['push', '-q', remote, 'main', 'v1'], { cwd: work })
  return { work, remote }
}

/** Runs git and shows the lines it exchanged. */
async function traced(cwd: string, ...args: string[]): Promise<string> {
  return (await git(['-c', 'protocol.version=2', ...args], { cwd, env: { GIT_TRACE_PACKET: '1' } })).stderr
}

t.test('git takes its answers on bands from the first line on', async (t) => {
  const dir = t.testdir()
  const { work, remote } = await publish('on-bands', dir)
  const clone = join(dir, 'clone')
  const said = await traced(dir, 'clone', '-q', '--depth', '1', remote, clone)
  t.match(said, /> sideband-all\n/)
  await git(['commit', '-q', '--allow-empty', '-m', 'four'], { cwd: work })
  await git(['push', '-q', remote, 'main'], { cwd: work })
  await traced(clone, 'fetch', '-q')
  t.equal(await gitText(clone, 'rev-parse', 'origin/main'), await gitText(work, 'rev-parse', 'main'))
  await traced(clone, 'fetch', '-q', '--unshallow', '--tags')
  t.equal(await gitText(clone, 'rev-list', '--count', '--all'), '4')
  await git(['fsck', '--strict', '--full'], { cwd: clone })
})

t.test('a ref is wanted by its name', async (t) => {
  const { work } = await publish('by-name', t.testdir())
  const main = await gitText(work, 'rev-parse', 'main')
  const asked = pkts('command=fetch', '0001', 'no-progress', 'want-ref refs/heads/main', 'deepen 1', 'done', '0000')
  const { text } = await post(hub, 'admin/by-name', 'git-upload-pack', asked, { headers: v2 })
  t.match(text, pkts('shallow-info\n', `shallow ${main}`, '0001', 'wanted-refs\n', `${main} refs/heads/main\n`, '0001', 'packfile\n').toString())
})

t.test('push.negotiate finds what both sides have, and sends the rest', async (t) => {
  const dir = t.testdir()
  const { work, remote } = await publish('negotiated', dir)
  const other = join(dir, 'other')
  await git(['clone', '-q', remote, other])
  await git(['commit', '-q', '--allow-empty', '-m', 'elsewhere'], { cwd: other })
  await git(['push', '-q'], { cwd: other })
  await git(['checkout', '-q', '-b', 'topic', 'main'], { cwd: work })
  await git(['commit', '-q', '--allow-empty', '-m', 'topic'], { cwd: work })
  const said = await traced(work, '-c', 'push.negotiate=true', 'push', remote, 'topic')
  t.match(said, /> wait-for-done\n/)
  t.match(said, new RegExp(`< ACK ${await gitText(work, 'rev-parse', 'main')}`))
  t.match(await gitText(work, 'ls-remote', remote, 'refs/heads/topic'), await gitText(work, 'rev-parse', 'topic'))
})

t.test('object-info tells sizes over HTTP', async (t) => {
  const { work } = await publish('sizes', t.testdir())
  const [commit, tag] = [await gitText(work, 'rev-parse', 'main'), await gitText(work, 'rev-parse', 'v1')]
  const asked = pkts('command=object-info', 'object-format=sha1', '0001', 'size', `oid ${commit}`, `oid ${tag}`, `oid ${'1'.repeat(40)}`, '0000')
  const { body } = await post(hub, 'admin/sizes', 'git-upload-pack', asked, { headers: v2 })
  const sizes = await Promise.all([commit, tag].map(async (oid) => `${oid} ${await gitText(work, 'cat-file', '-s', oid)}`))
  t.same(body, pkts('size', ...sizes, `${'1'.repeat(40)} `, '0000'))
})

t.test('a client that names objects by SHA-256 is told so, on fetch and on push', async (t) => {
  const dir = t.testdir()
  const { remote } = await publish('sha1-only', dir)
  const work = join(dir, 'sha256')
  await git(['init', '-q', '-b', 'main', '--object-format=sha256', work])
  await git(['commit', '-q', '--allow-empty', '-m', 'one'], { cwd: work })
  for (const args of [
    ['fetch', remote],
    ['push', remote, 'main:refs/heads/other'],
  ]) {
    const { code, stderr } = await git(args, { cwd: work, ok: false })
    t.not(code, 0)
    t.match(stderr, /mismatched algorithms|does not support.*(object format|algorithm)/, args[0]!)
  }
  const answer = async (service: 'git-upload-pack' | 'git-receive-pack', body: Buffer, headers = {}) =>
    (await post(hub, 'admin/sha1-only', service, body, { headers })).text
  const refusal = 'object format sha256 is not supported: repositories here use sha1'
  const wanted = 'a'.repeat(64)
  t.match(await answer('git-upload-pack', pkts('command=ls-refs', 'object-format=sha256', '0000'), v2), `ERR ${refusal}`)
  t.match(
    await answer('git-upload-pack', pkts('command=fetch', 'object-format=sha256', '0001', `want ${wanted}`, 'done', '0000'), v2),
    `ERR ${refusal}`,
  )
  t.match(await answer('git-upload-pack', pkts(`want ${wanted} object-format=sha256`, '0000', 'done')), `ERR ${refusal}`)
  t.match(
    await answer('git-receive-pack', pkts(`${'0'.repeat(64)} ${wanted} refs/heads/x\0 report-status object-format=sha256`, '0000')),
    `ERR ${refusal}`,
  )
})
