import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { privateRepo, sourceHistory } from '../support/git-client.js'
import { gitText } from '../support/hub-git.js'
import { startHub } from '../support/hub.js'
import { findHf } from '../support/tools/hf.js'

const found = await findHf()
const hub = await startHub(t)

t.test('hf repos duplicate: the whole history, under the name that hf is told', { skip: found.missing }, async (t) => {
  const dir = t.testdir()
  const hf = (...args: readonly string[]) => found.tool!(hub, join(dir, 'home'), ['repos', 'duplicate', ...args])
  const source = await privateRepo(hub, 'original')
  const history = await sourceHistory()
  await git(['push', '-q', source, 'refs/heads/*:refs/heads/*', 'refs/tags/*:refs/tags/*'], { cwd: history })
  t.match(await hf('admin/original', 'admin/copy', '--format', 'json'), `${hub.url}/admin/copy`)
  const clone = join(dir, 'clone')
  await git(['clone', '-q', '--mirror', hub.remote('admin/copy'), clone])
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  t.equal(await gitText(clone, 'for-each-ref'), await gitText(history, 'for-each-ref'))
  t.match((await hub.api('GET', '/api/models/admin/copy')).body, { private: true }, 'as the one it is a copy of')

  t.match(await hf('admin/original', 'open', '--public'), `${hub.url}/admin/open`, 'in the own namespace')
  t.match((await hub.api('GET', '/api/models/admin/open', undefined, '')).body, { id: 'admin/open', private: false })
  await t.rejects(hf('admin/original', 'admin/copy'), /already created this model repo/)
  t.match(await hf('admin/original', 'admin/copy', '--exist-ok'), `${hub.url}/admin/copy`)
  await t.rejects(hf('admin/nothing', 'admin/more'), /404|not found/i)

  await hub.api('POST', '/api/repos/create', { name: 'rows', type: 'dataset' })
  t.match(await hf('admin/rows', 'admin/rows-2', '--type', 'dataset'), `${hub.url}/datasets/admin/rows-2`)
  await hub.api('POST', '/api/repos/create', { name: 'app', type: 'space', sdk: 'gradio' })
  t.match(await hf('admin/app', 'admin/app-2', '--type', 'space', '--flavor', 'cpu-basic'), `${hub.url}/spaces/admin/app-2`)
  t.match((await hub.api('GET', '/api/spaces/admin/app-2')).body, { sdk: 'gradio' })
})
