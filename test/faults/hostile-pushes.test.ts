import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import {
  basic,
  create,
  emptyPack,
  fetchBody,
  filesBelow,
  health,
  history,
  makeEmpty,
  makeUser,
  openSocket,
  packOfAnswer,
  post,
  push,
  pushHead,
  pushOne,
  refsOf,
  requestHead,
  spoolOf,
  until,
  v2,
  zero,
} from '../support/hostile.js'
import { startHub, type Hub } from '../support/hub.js'
import { blob, commitOf, nameOf, packOf, sizeVarint, treeOf } from '../support/packs.js'
import { mountSmallDisk, smallDiskMissing } from '../support/small-disk.js'

const hub = await startHub(t)
const { file, tree, commit, oid: tip, pack: whole } = history('hello\n')
const pushed = (pack: Buffer, repo: string, command = create(tip)): Promise<string> => pushOne(hub, repo, pack, command)

t.test('an empty pack creates a branch, and a delete may bring one', async (t) => {
  const repo = await makeEmpty(hub, 'empty-packs')
  t.equal(await pushed(whole, repo), 'ok refs/heads/main')
  t.equal(await pushed(emptyPack, repo, [zero, tip, 'refs/heads/second']), 'ok refs/heads/second')
  t.equal(await pushed(emptyPack, repo, [tip, zero, 'refs/heads/second']), 'ok refs/heads/second')
  t.equal(await pushed(emptyPack, repo, [zero, tip, 'refs/heads/third']), 'ok refs/heads/third')
  t.equal(await pushed(Buffer.alloc(0), repo, [tip, zero, 'refs/heads/third']), 'ok refs/heads/third')
  t.equal(await pushed(whole, repo, [zero, tip, 'refs/heads/again']), 'ok refs/heads/again', 'what is there already may come again')
  t.match(await pushed(Buffer.alloc(0), repo, [zero, tip, 'refs/heads/no-pack']), /pack/)
  t.same(await refsOf(hub, repo), { HEAD: tip, 'refs/heads/main': tip, 'refs/heads/again': tip })
})

t.test('an object pushed in two packs comes out once', async (t) => {
  const repo = await makeEmpty(hub, 'twice')
  const second = commitOf(nameOf(tree), tip)
  t.equal(await pushed(whole, repo), 'ok refs/heads/main')
  t.equal(await pushed(packOf([second, commit, tree, file]), repo, [tip, nameOf(second), 'refs/heads/main']), 'ok refs/heads/main')
  const answer = await post(hub, repo, 'git-upload-pack', fetchBody([nameOf(second), nameOf(second), tip]), { headers: v2 })
  t.equal(packOfAnswer(answer.body).readUInt32BE(8), 4)
  await git(['-c', 'fetch.fsckObjects=true', 'clone', '-q', '--bare', hub.remote(repo), join(t.testdir(), 'clone')])
})

t.test('a thin pack whose base lies in a repository the pusher may not read is refused, and so is a commit that leans on its files', async (t) => {
  const mallory = await makeUser(hub, 'mallory')
  const secret = blob('the secret recipe: forty-two grains of salt, and a lot of patience\n')
  const secretTree = treeOf(['100644', 'recipe', nameOf(secret)])
  const secretCommit = commitOf(nameOf(secretTree))
  const vault = await makeEmpty(hub, 'vault', { private: true })
  t.equal(await pushed(packOf([secretCommit, secretTree, secret]), vault, [zero, nameOf(secretCommit), 'refs/heads/main']), 'ok refs/heads/main')
  const own = await makeEmpty(hub, 'own', { owner: 'mallory', token: mallory, private: true })
  const take = (pack: Buffer, oid: string): Promise<string> => pushOne(hub, own, pack, create(oid), mallory)

  const copy = Buffer.concat([sizeVarint(secret.data.length), sizeVarint(secret.data.length), Buffer.from([0x90, secret.data.length])])
  const more = { type: 3 as const, data: Buffer.concat([secret.data, Buffer.from('!')]) }
  const longer = Buffer.concat([
    sizeVarint(secret.data.length),
    sizeVarint(more.data.length),
    Buffer.from([0x90, secret.data.length, 1]),
    Buffer.from('!'),
  ])
  const tree = treeOf(['100644', 'stolen', nameOf(more)])
  const commit = commitOf(nameOf(tree))
  t.match(await take(packOf([commit, tree, { base: nameOf(secret), delta: longer }]), nameOf(commit)), 'which is not to be had')
  t.match(await take(packOf([{ base: nameOf(secret), delta: copy }]), nameOf(secret)), 'which is not to be had')
  const leaning = commitOf(nameOf(secretTree))
  t.match(await take(packOf([leaning]), nameOf(leaning)), 'missing')
  const child = commitOf(nameOf(treeOf()), nameOf(secretCommit))
  t.match(await take(packOf([child, treeOf()]), nameOf(child)), 'missing')
  t.match(await take(emptyPack, nameOf(secretCommit)), 'missing')
  t.same(await refsOf(hub, own, mallory), {})
})

t.test('thin packs of git are completed, and what comes out counts what it holds', async (t) => {
  const repo = await makeEmpty(hub, 'thin')
  const work = await workTree(t.testdir())
  const text = Array.from({ length: 400 }, (_, i) => `line ${i} of a text that is worth a delta\n`).join('')
  await work.commit({ text })
  const first = await work.rev('HEAD')
  const remote = hub.remote(repo)
  await git(['push', '-q', remote, 'main'], { cwd: work.cwd })
  const latest = await work.commit({ text: `${text}one more\n` })
  const thin = await work.pack(latest, `^${first}`)
  const base = (await git(['rev-parse', 'HEAD~1:text'], { cwd: work.cwd })).stdout.toString().trim()
  t.ok(thin.includes(Buffer.from(base, 'hex')), 'the pack names a base it does not have')
  t.equal(await pushed(thin, repo, [first, latest, 'refs/heads/main']), 'ok refs/heads/main')
  const cwd = join(t.testdirName, 'clone')
  await git(['-c', 'fetch.fsckObjects=true', 'clone', '-q', '--bare', remote, cwd])
  await git(['fsck', '--strict', '--full'], { cwd })
  t.equal((await git(['rev-list', '--objects', '--all'], { cwd })).stdout.toString().trim().split('\n').length, 6)
})

t.test('file names and people that are no UTF-8 come out as they went in', async (t) => {
  const repo = await makeEmpty(hub, 'latin1')
  const work = await workTree(t.testdir())
  const { cwd } = work
  const content = (await git(['hash-object', '-w', '--stdin'], { cwd, input: Buffer.from('x') })).stdout.toString().trim()
  const entry = Buffer.concat([Buffer.from(`100644 blob ${content}\t`), Buffer.from('caf\xe9 \xff.txt', 'latin1'), Buffer.from([0])])
  const tree = (await git(['mktree', '-z'], { cwd, input: entry })).stdout.toString().trim()
  const text = `tree ${tree}\nauthor Ren\xe9 <rene@example.com> 1700000000 +0000\ncommitter Ren\xe9 <rene@example.com> 1700000000 +0000\n\ncaf\xe9\n`
  const input = Buffer.from(text, 'latin1')
  const commit = (await git(['hash-object', '-t', 'commit', '-w', '--stdin'], { cwd, input })).stdout.toString().trim()
  await git(['push', '-q', hub.remote(repo), `${commit}:refs/heads/main`], { cwd })
  const clone = join(t.testdirName, 'clone')
  await git(['clone', '-q', '--bare', hub.remote(repo), clone])
  t.ok((await git(['cat-file', 'commit', 'main'], { cwd: clone })).stdout.equals(input))
  t.ok((await git(['ls-tree', '-z', 'main'], { cwd: clone })).stdout.equals(entry))
  t.equal((await hub.api('GET', `/api/models/${repo}`)).status, 200)
})

t.test('a pusher who leaves in the middle leaves no file in the spool and no ref', async (t) => {
  const repo = await makeEmpty(hub, 'leavers')
  const big = randomBytes(3 * 2 ** 20)
  const body = Buffer.concat([pushHead([create(tip)]), packOf([commit, tree, file, { type: 3, data: big }])])
  const head = requestHead(hub, `POST /${repo}/git-receive-pack`, [
    `Authorization: ${basic(hub.token)}`,
    'Content-Type: application/x-git-receive-pack-request',
    `Content-Length: ${body.length}`,
  ])
  for (const leave of ['destroy', 'resetAndDestroy', 'end'] as const) {
    const socket = await openSocket(hub)
    socket.write(head)
    socket.write(body.subarray(0, 2 * 2 ** 20))
    await until('the pack is in a file', async () => (await filesBelow(spoolOf(hub))).length === 1)
    socket[leave]()
    await until(`after ${leave} the spool is empty`, async () => (await filesBelow(spoolOf(hub))).length === 0)
    socket.destroy()
  }
  t.same(await refsOf(hub, repo), {})
  t.equal(await pushed(whole, repo), 'ok refs/heads/main')
  t.notMatch(hub.output(), /"level":[56]0/, 'that somebody left is no failure of ours')
})

t.test('a fetcher who leaves in the middle does no harm', async (t) => {
  const repo = await makeEmpty(hub, 'half-clones')
  const large = { type: 3 as const, data: randomBytes(8 * 2 ** 20) }
  const tree = treeOf(['100644', 'large', nameOf(large)])
  const commit = commitOf(nameOf(tree))
  t.equal(await pushed(packOf([commit, tree, large]), repo, [zero, nameOf(commit), 'refs/heads/main']), 'ok refs/heads/main')
  const body = fetchBody([nameOf(commit)])
  const head = requestHead(hub, `POST /${repo}/git-upload-pack`, [
    'Content-Type: application/x-git-upload-pack-request',
    'Git-Protocol: version=2',
    `Content-Length: ${body.length}`,
  ])
  for (let i = 0; i < 20; i++) {
    const socket = await openSocket(hub)
    socket.write(head)
    socket.write(body)
    await once(socket, 'data')
    if (i % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
  }
  await git(['clone', '-q', '--bare', hub.remote(repo), join(t.testdir(), 'clone')])
  t.ok((await health(hub)) < 1_000)
})

t.test('a stored pack that was spoilt never comes out as a clone that looks whole', async (t) => {
  const repo = await makeEmpty(hub, 'spoilt')
  const large = { type: 3 as const, data: randomBytes(2 ** 20) }
  const tree = treeOf(['100644', 'large', nameOf(large)])
  const commit = commitOf(nameOf(tree))
  const pack = packOf([commit, tree, large])
  t.equal(await pushed(pack, repo, [zero, nameOf(commit), 'refs/heads/main']), 'ok refs/heads/main')
  const name = createHash('sha256').update(pack).digest('hex')
  const blobs = join(hub.dataDirectory, 'blobs')
  const stored = (await readdir(blobs, { recursive: true })).find((path) => path.includes(name) && path.endsWith('.pack'))
  if (stored === undefined) return t.fail(`no pack ${name} in the store`)
  const handle = await open(join(blobs, stored), 'r+')
  await handle.write(Buffer.from('spoilt'), 0, 6, 500_000)
  await handle.close()
  const { code, stderr } = await git(['clone', '--bare', hub.remote(repo), join(t.testdir(), 'clone')], { ok: false })
  t.not(code, 0)
  t.match(stderr, /fatal|error/)
  await health(hub)
})

t.test('a push for which the spool has no room is told so, and the next small one goes through', async (t) => {
  const hub = await startHub(t, { env: { CAIRN_SPOOL_BYTES: '2MiB' } })
  await showFull(t, hub, 'the pushes under way are over the 2097152 bytes the hub has room for, try again later')
})

t.test('a push that fills the disk is told so, and the hub goes on', { skip: smallDiskMissing() }, async (t) => {
  const disk = mountSmallDisk(t, '4m')
  const hub = await startHub(t, { env: { CAIRN_SPOOL_DIR: disk, CAIRN_SPOOL_BYTES: '1GiB' } })
  await showFull(t, hub, 'no space is left on the hub')
  t.match(hub.output(), 'ENOSPC', 'the log says why')
})

/** A push too big for the room there is, by git and by hand, and then one that is not. */
async function showFull(t: Test, hub: Hub, message: string): Promise<void> {
  const repo = await makeEmpty(hub, 'full')
  const work = await workTree(t.testdir())
  await work.commit({ large: randomBytes(6 * 2 ** 20) })
  for (const config of [[], ['-c', 'http.postBuffer=65536']]) {
    const { code, stderr } = await git([...config, 'push', hub.remote(repo), 'main'], { cwd: work.cwd, ok: false })
    t.not(code, 0)
    t.match(stderr, message)
    t.match(stderr, 'remote rejected')
  }
  const { unpack, refs } = await push(hub, repo, [create(tip)], packOf([commit, tree, { type: 3, data: randomBytes(6 * 2 ** 20) }]))
  t.equal(unpack, message)
  t.same(refs, ['ng refs/heads/main unpacker error'])
  t.same(await filesBelow(spoolOf(hub)), [])
  t.same(await refsOf(hub, repo), {})
  const small = await push(hub, repo, [create(tip)], whole)
  t.same(small.refs, ['ok refs/heads/main'])
  await git(['clone', '-q', hub.remote(repo), join(t.testdirName, 'clone')])
  await health(hub)
}
