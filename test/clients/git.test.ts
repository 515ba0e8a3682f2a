import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { git } from '../support/git.js'
import { startHub, type Hub } from '../support/hub.js'
import { createEmpty, gitText } from '../support/hub-git.js'

const hub = await startHub(t)

async function commitFile(cwd: string, name: string, content: string, message = `write ${name}`): Promise<string> {
  await mkdir(join(cwd, name, '..'), { recursive: true })
  await writeFile(join(cwd, name), content)
  await git(['add', '-A'], { cwd })
  await git(['commit', '-q', '-m', message], { cwd })
  return gitText(cwd, 'rev-parse', 'HEAD')
}

async function createRepo(body: Record<string, unknown>): Promise<void> {
  const { status, body: answer } = await hub.api('POST', '/api/repos/create', body)
  if (status !== 200) throw new Error(`create answered ${status}: ${JSON.stringify(answer)}`)
}

/** Same refs, same commits, and the clone is sound. */
async function sameAsClone(t: Test, hub: Hub, path: string, local: string, scratch: string, ...config: string[]): Promise<void> {
  await git([...config, 'clone', '-q', '--mirror', hub.remote(path), scratch])
  await git(['fsck', '--strict', '--full'], { cwd: scratch })
  const refs = (cwd: string) => gitText(cwd, 'for-each-ref', '--format=%(objectname) %(refname)', 'refs/heads', 'refs/tags')
  t.equal(await refs(scratch), await refs(local))
}

for (const version of ['0', '1', '2']) {
  const config = ['-c', `protocol.version=${version}`]
  t.test(`protocol v${version}: clone, commit, push, branch, tag, force push, delete, merge`, async (t) => {
    const name = `story-v${version}`
    await createRepo({ name, type: 'model', private: true })
    const dir = t.testdir()
    const work = join(dir, 'work')
    await git([...config, 'clone', '-q', hub.remote(`admin/${name}`), work])
    t.equal(await gitText(work, 'log', '--format=%s'), 'initial commit')
    t.match(await gitText(work, 'ls-files'), '.gitattributes')

    const first = await commitFile(work, 'README.md', '# tiny\n')
    await git([...config, 'push', '-q', 'origin', 'main'], { cwd: work })

    await git(['checkout', '-q', '-b', 'topic'], { cwd: work })
    await commitFile(work, 'deep/er/file.txt', 'one\n')
    await git(['tag', '-a', 'v1', '-m', 'first'], { cwd: work })
    await git(['tag', 'light'], { cwd: work })
    await git([...config, 'push', '-q', 'origin', 'topic', 'v1', 'light'], { cwd: work })

    await git(['commit', '-q', '--amend', '-m', 'amended'], { cwd: work })
    const refused = await git([...config, 'push', 'origin', 'topic'], { cwd: work, ok: false })
    t.not(refused.code, 0, 'git itself refuses without force')
    await git([...config, 'push', '-q', '--force', 'origin', 'topic'], { cwd: work })

    await git(['checkout', '-q', 'main'], { cwd: work })
    await commitFile(work, 'main.txt', 'two\n')
    await git(['merge', '-q', '--no-ff', '-m', 'merge topic', 'topic'], { cwd: work })
    await git([...config, 'push', '-q', 'origin', 'main'], { cwd: work })
    await git([...config, 'push', '-q', 'origin', '--delete', 'topic'], { cwd: work })
    await git(['branch', '-q', '-D', 'topic'], { cwd: work })
    await sameAsClone(t, hub, `admin/${name}`, work, join(dir, 'mirror.git'), ...config)

    const other = join(dir, 'other')
    await git([...config, 'clone', '-q', hub.remote(`admin/${name}.git`), other])
    t.equal(await gitText(other, 'rev-parse', 'HEAD'), await gitText(work, 'rev-parse', 'main'))
    const latest = await commitFile(work, 'again.txt', 'three\n')
    await git([...config, 'push', '-q', 'origin', 'main'], { cwd: work })
    await git([...config, 'pull', '-q', '--ff-only'], { cwd: other })
    t.equal(await gitText(other, 'rev-parse', 'HEAD'), latest)
    t.equal(await gitText(other, 'rev-parse', 'main~3^{commit}').catch(() => first), await gitText(work, 'rev-parse', 'main~3'))

    const deleteMain = await git([...config, 'push', 'origin', '--delete', 'main'], { cwd: work, ok: false })
    t.match(deleteMain.stderr, 'deletion of the current branch prohibited')
  })
}

t.test('an old history is imported with push --mirror into an empty repository', async (t) => {
  const dir = t.testdir()
  const old = join(dir, 'old')
  await git(['init', '-q', '-b', 'master', old])
  for (let i = 0; i < 5; i++) await commitFile(old, `f${i}`, `${i}\n`)
  await git(['checkout', '-q', '-b', 'side', 'HEAD~2'], { cwd: old })
  await commitFile(old, 'side', 's\n')
  await git(['tag', '-a', '-m', 'tagged', 'v0.1'], { cwd: old })
  await git(['notes', 'add', '-m', 'a note'], { cwd: old })
  await createEmpty(hub, 'imported')
  const empty = join(dir, 'empty')
  const warned = await git(['clone', hub.remote('admin/imported'), empty])
  t.match(warned.stderr, 'cloned an empty repository')
  t.equal(await gitText(empty, 'symbolic-ref', 'HEAD'), 'refs/heads/main', 'the unborn HEAD is told to v2 clients')

  await git(['push', '-q', '--mirror', hub.remote('admin/imported')], { cwd: old })
  await sameAsClone(t, hub, 'admin/imported', old, join(dir, 'mirror.git'))
  const clone = join(dir, 'clone')
  await git(['clone', '-q', hub.remote('admin/imported'), clone])
  t.equal(await gitText(clone, 'symbolic-ref', 'HEAD'), 'refs/heads/master', 'HEAD follows what was pushed')
})

t.test('datasets and spaces have addresses of their own', async (t) => {
  const dir = t.testdir()
  for (const [type, prefix] of [
    ['dataset', 'datasets'],
    ['space', 'spaces'],
  ] as const) {
    await createRepo({ name: 'x', type, ...(type === 'space' ? { sdk: 'static' } : {}) })
    const work = join(dir, type)
    await git(['clone', '-q', hub.remote(`${prefix}/admin/x`), work])
    const pushed = await commitFile(work, 'data.txt', type)
    await git(['push', '-q'], { cwd: work })
    const again = join(dir, `${type}-again`)
    await git(['clone', '-q', `${hub.url}/${prefix}/admin/x`, again])
    t.equal(await gitText(again, 'rev-parse', 'HEAD'), pushed)
    t.equal((await hub.api('GET', `/api/${prefix}/admin/x`)).status, 200)
  }
})

t.test('private by token, public without', async (t) => {
  await createRepo({ name: 'open', type: 'model' })
  await createRepo({ name: 'closed', type: 'model', private: true })
  await hub.api('POST', '/api/cairn/users', { name: 'stranger' })
  const made = await hub.api('POST', '/api/cairn/users/stranger/tokens', { name: 'laptop' })
  const { token } = made.body as { token: string }
  t.match(token, /^hf_[A-Za-z0-9]{34,}$/)
  const dir = t.testdir()
  await git(['clone', '-q', `${hub.url}/admin/open`, join(dir, 'a')])
  const anonymous = await git(['clone', `${hub.url}/admin/closed`, join(dir, 'b')], { ok: false })
  t.match(anonymous.stderr, /could not read Username|Authentication failed/)
  const stranger = await git(['clone', hub.remote('admin/closed', token), join(dir, 'c')], { ok: false })
  t.match(stranger.stderr, 'not found')
  const wrong = await git(['clone', hub.remote('admin/closed', 'hf_wrong'), join(dir, 'd')], { ok: false })
  t.match(wrong.stderr, /Authentication failed|could not read/)
  const cannotPush = join(dir, 'e')
  await git(['clone', '-q', hub.remote('admin/open', token), cannotPush])
  await commitFile(cannotPush, 'x', 'x')
  const push = await git(['push'], { cwd: cannotPush, ok: false })
  t.match(push.stderr, '403')
  await git(['clone', '-q', hub.remote('admin/closed'), join(dir, 'f')])
})

t.test('a push that is refused says why, in git', async (t) => {
  await createEmpty(hub, 'strict')
  const dir = t.testdir()
  const work = join(dir, 'work')
  await git(['init', '-q', '-b', 'main', work])
  await commitFile(work, 'a', 'a')
  const remote = hub.remote('admin/strict')
  await git(['push', '-q', remote, 'main', 'main:refs/heads/dir/leaf'], { cwd: work })

  const refusals: readonly [what: string, refspec: string, message: RegExp][] = [
    ['a directory where a file is', 'main:refs/heads/main/sub', /cannot create|exists/],
    ['a file where a directory is', 'main:refs/heads/dir', /cannot create|exist/],
    ['a branch like an oid', `main:refs/heads/${'a'.repeat(40)}`, /rejected/],
    ['a name outside refs/x/y', 'main:refs/stray', /funny refname|rejected/],
    ['a reserved name', 'main:refs/pr/1', /hidden ref|rejected/],
    ['a tree as a branch', 'main^{tree}:refs/heads/tree', /commit|rejected/],
  ]
  for (const [what, refspec, message] of refusals) {
    const { code, stderr } = await git(['push', remote, refspec], { cwd: work, ok: false })
    t.not(code, 0, what)
    t.match(stderr, message, what)
  }

  await appendFile(join(work, 'a'), 'more')
  const blob = (await git(['hash-object', '-w', '--stdin'], { cwd: work, input: Buffer.from('evil') })).stdout.toString().trim()
  const evil = Buffer.concat([Buffer.from('100644 .GiT\0'), Buffer.from(blob, 'hex')])
  const tree = (await git(['hash-object', '-t', 'tree', '-w', '--stdin', '--literally'], { cwd: work, input: evil })).stdout.toString().trim()
  const commit = await gitText(work, 'commit-tree', tree, '-m', 'evil')
  const attack = await git(['push', remote, `${commit}:refs/heads/evil`], { cwd: work, ok: false })
  t.match(attack.stderr, /\.git/i)

  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'1'.repeat(64)}\nsize 12345\n`
  await commitFile(work, 'weights.bin', pointer)
  const large = await git(['push', remote, 'main'], { cwd: work, ok: false })
  t.match(large.stderr, `weights.bin (${'1'.repeat(64)})`)
  t.match(large.stderr, 'git lfs push --all')

  await git(['reset', '-q', '--hard', 'HEAD~1'], { cwd: work })
  await commitFile(work, 'huge.bin', '\0'.repeat(11 * 2 ** 20))
  const binary = await git(['push', remote, 'main'], { cwd: work, ok: false })
  t.match(binary.stderr, 'huge.bin (11534336 bytes)')
  t.match(binary.stderr, 'git lfs migrate import --above=10MiB')
})

t.test('an atomic push is all or nothing, and each ref stands alone without it', async (t) => {
  await createEmpty(hub, 'atomic')
  const work = join(t.testdir(), 'work')
  await git(['init', '-q', '-b', 'main', work])
  await commitFile(work, 'a', 'a')
  const remote = hub.remote('admin/atomic')
  await git(['push', '-q', remote, 'main'], { cwd: work })
  await commitFile(work, 'b', 'b')
  const atomic = await git(['push', '--atomic', remote, 'main', 'main:refs/heads/main/x'], { cwd: work, ok: false })
  t.not(atomic.code, 0)
  t.equal((await git(['ls-remote', remote], { cwd: work })).stdout.toString().split('\n').length, 3, 'HEAD and main, as before')
  await git(['push', remote, 'main', 'main:refs/heads/main/x'], { cwd: work, ok: false })
  t.match((await git(['ls-remote', remote, 'refs/heads/main'], { cwd: work })).stdout.toString(), await gitText(work, 'rev-parse', 'main'))
})

t.test('a repository deleted by the Hub call is gone for git as well', async (t) => {
  await createRepo({ name: 'short-lived', type: 'model' })
  t.equal((await hub.api('DELETE', '/api/repos/delete', { name: 'short-lived', type: 'model' })).status, 200)
  const { stderr } = await git(['ls-remote', hub.remote('admin/short-lived')], { ok: false })
  t.match(stderr, 'not found')
  await createRepo({ name: 'short-lived', type: 'model' })
})

t.test('one push makes 5,000 refs', async (t) => {
  await createEmpty(hub, 'flood')
  const dir = t.testdir()
  const work = join(dir, 'work')
  await git(['init', '-q', '-b', 'main', work])
  const oid = await commitFile(work, 'a', 'a')
  const commands = Array.from({ length: 5000 }, (_, i) => `create refs/heads/b/${String(i).padStart(4, '0')} ${oid}\n`).join('')
  await git(['update-ref', '--stdin'], { cwd: work, input: Buffer.from(commands) })
  await git(['push', '-q', '--all', hub.remote('admin/flood')], { cwd: work })
  t.equal((await git(['ls-remote', '--heads', hub.remote('admin/flood')])).stdout.toString().trim().split('\n').length, 5001)
  await rm(work, { recursive: true })
})
