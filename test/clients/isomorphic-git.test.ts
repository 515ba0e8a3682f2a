import fs from 'node:fs'
import { join } from 'node:path'
import * as iso from 'isomorphic-git'
import http from 'isomorphic-git/http/node'
import t from 'tap'
import { shallowStory, wholeStory } from '../support/client-stories.js'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { isomorphicClient } from '../support/isomorphic-client.js'

const hub = await startHub(t)
const author = { name: 'Iso', email: 'iso@example.com' }

t.test('isomorphic-git clones, commits, pushes, fetches and merges', async (t) => {
  t.equal((await hub.api('POST', '/api/repos/create', { name: 'iso', type: 'model', private: true })).status, 200)
  const url = `${hub.url}/admin/iso`
  const onAuth = () => ({ username: 'user', password: hub.token })
  const root = t.testdir()
  const dir = join(root, 'work')
  await iso.clone({ fs, http, dir, url, onAuth, singleBranch: false })
  t.same(
    (await iso.log({ fs, dir })).map(({ commit }) => commit.message),
    ['initial commit\n'],
  )
  fs.writeFileSync(join(dir, 'hello.txt'), 'hello\n')
  await iso.add({ fs, dir, filepath: 'hello.txt' })
  const oid = await iso.commit({ fs, dir, message: 'hello', author })
  const pushed = await iso.push({ fs, http, dir, url, onAuth, remote: 'origin', ref: 'main' })
  t.equal(pushed.ok, true)
  t.equal((await git(['ls-remote', hub.remote('admin/iso'), 'refs/heads/main'])).stdout.toString().slice(0, 40), oid)

  const other = join(root, 'other')
  await git(['clone', '-q', hub.remote('admin/iso'), other])
  fs.writeFileSync(join(other, 'from-git.txt'), 'x'.repeat(100_000))
  await git(['add', '-A'], { cwd: other })
  await git(['commit', '-q', '-m', 'from git'], { cwd: other })
  await git(['tag', '-a', 'v1', '-m', 'one'], { cwd: other })
  await git(['push', '-q', '--follow-tags'], { cwd: other })
  await iso.pull({ fs, http, dir, url, onAuth, ref: 'main', author, fastForwardOnly: true })
  t.equal(fs.readFileSync(join(dir, 'from-git.txt'), 'utf8').length, 100_000)
  await iso.fetch({ fs, http, dir, url, onAuth, ref: 'main', tags: true })
  t.same(await iso.listTags({ fs, dir }), ['v1'])
  const refs = await iso.listServerRefs({ http, url, onAuth, protocolVersion: 2 })
  t.ok(
    refs.some(({ ref }) => ref === 'refs/heads/main'),
    'v2 without a delimiter',
  )
})

const isomorphic = { name: 'isomorphic-git', found: { tool: isomorphicClient, missing: false } } as const
for (const tell of [wholeStory, shallowStory]) tell(t, hub, isomorphic)
