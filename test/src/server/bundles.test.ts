/** What a collection made, as a bundle that git clones from before it asks for the rest. */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createBundles } from '../../../src/repos/bundles.js'
import { collecting, pushed } from '../../support/collections.js'
import { create, move, never, openDomain, slices, workTree } from '../../support/domain.js'
import { git } from '../../support/git.js'
import { basic } from '../../support/hostile.js'
import { serveHub } from '../../support/served-hub.js'
import { pkts } from '../../support/wire.js'

t.test('a bundle holds what branches and tags led to when it was made', async (t) => {
  const domain = await openDomain(t)
  const bundles = createBundles({ ...domain, slices, minBundleBytes: 1 })
  const repo = await domain.makeRepo('bundled')
  const work = await workTree(t.testdir())
  const one = await work.commit({ a: '1' })
  const two = await work.commit({ a: '2', b: randomBytes(3_000) })
  await pushed(domain, repo, { commands: [create('refs/heads/main', two), create('refs/heads/old', one)], pack: await work.pack(two) })
  t.equal(await bundles.findBundle(await domain.current('bundled')), undefined, 'none before the first collection')
  await collecting(domain, { splitBytes: 1 })(repo.id, { signal: never })
  const three = await work.commit({ a: '3' })
  await pushed(domain, repo, { commands: [move('refs/heads/main', two, three)], pack: await work.pack(three, `^${two}`) })
  const now = await domain.current('bundled')
  const { name } = (await bundles.findBundle(now))!
  const chunks: Buffer[] = []
  for await (const chunk of await bundles.openBundle(now, name, never)) chunks.push(Buffer.from(chunk))
  const file = join(t.testdirName, 'all.bundle')
  await writeFile(file, Buffer.concat(chunks))
  t.match((await git(['bundle', 'list-heads', file])).stdout.toString(), `${one} refs/heads/old\n`)
  const clone = join(t.testdirName, 'clone')
  await git(['clone', '-q', '--mirror', file, clone])
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  t.equal((await git(['cat-file', '-t', two], { cwd: clone })).stdout.toString(), 'commit\n', 'what main was at is in it, though no ref of it')
  await t.rejects(bundles.openBundle(now, 'f'.repeat(64), never), { code: 'not-found' })
  t.equal(await createBundles({ ...domain, slices }).findBundle(now), undefined, 'a small repository offers none')
})

t.test('git clones from it when it is asked to, by an address that is signed and ends with its token', async (t) => {
  const hub = await serveHub(t)
  const remote = hub.url.replace('://', `://user:${hub.token}@`) + '/admin/large'
  await hub.api('POST', '/api/cairn/repos', { id: 'admin/large', empty: true, private: true })
  const work = await workTree(t.testdir())
  const oid = await work.commit(Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`part${i}`, randomBytes(9_500_000).toString('base64')])))
  await git(['push', '-q', remote, `${oid}:refs/heads/main`], { cwd: work.cwd })
  await hub.api('POST', '/api/cairn/gc', { what: ['packs'] })
  const list = await fetch(`${hub.url}/admin/large/git-upload-pack`, {
    method: 'POST',
    headers: { authorization: basic(hub.token), 'git-protocol': 'version=2', 'content-type': 'application/x-git-upload-pack-request' },
    body: new Uint8Array(pkts('command=bundle-uri\n', '0000')),
  })
  const uri = /bundle\.all\.uri=(.*?)[0-9a-f]{4}bundle/.exec(await list.text())![1]!
  t.match(uri, /^http:\/\/127\.0\.0\.1:\d+\/admin\/large\.git\/bundle\/[0-9a-f]{64}\?token=/)
  const clone = join(t.testdirName, 'clone')
  // The client asks for the list by itself from git 2.40 on.
  const { stderr } = await git(['clone', '--progress', `--bundle-uri=${uri}`, remote, clone])
  t.notMatch(stderr, /warning|Receiving objects/, 'nothing was left to fetch')
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  const path = uri.slice(hub.url.length)
  const answer = await fetch(hub.url + path)
  t.equal(answer.status, 200)
  t.match(
    Buffer.from(await answer.arrayBuffer())
      .subarray(0, 16)
      .toString(),
    '# v2 git bundle\n',
  )
  t.equal((await fetch(hub.url + path.replace(/token=.*/, ''))).status, 403)
  t.equal((await fetch(hub.url + path.replace(/.(?=.$)/, (last) => (last === 'A' ? 'B' : 'A')))).status, 403)
  t.equal((await fetch(hub.url + path.replace('/large.git', '/other.git'))).status, 403)
})
