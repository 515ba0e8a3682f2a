import { join } from 'node:path'
import t from 'tap'
import { workTree } from '../support/domain.js'
import { git } from '../support/git.js'
import { post, v2 } from '../support/hostile.js'
import { gitText } from '../support/hub-git.js'
import { putRef } from '../support/put-ref.js'
import { serveHub } from '../support/served-hub.js'
import { pkts } from '../support/wire.js'

const hub = await serveHub(t)
const dir = t.testdir()
const remote = `${hub.url.replace('http://', `http://user:${hub.token}@`)}/admin/reserved`
const created = await hub.api('POST', '/api/cairn/repos', { type: 'model', id: 'admin/reserved', empty: true })
if (created.status !== 200) throw new Error(`create answered ${created.status}`)

const work = await workTree(dir)
const main = await work.commit({ file: 'for all\n' })
await git(['push', '-q', remote, 'HEAD:refs/heads/main'], { cwd: work.cwd })
const change = await work.commit({ file: 'proposed\n' })
await putRef(hub, work, 'admin/reserved', { name: 'refs/pr/1', oid: change, base: main })
const parent = await work.commit({ secret: 'not for all\n' })
const hidden = await work.commit({ secret: 'nor this\n' })
await putRef(hub, work, 'admin/reserved', { name: 'refs/internal/keep', oid: hidden, base: change })
const secret = await work.rev(`${hidden}:secret`)

const ask = async (...lines: readonly string[]): Promise<string> =>
  (await post(hub, 'admin/reserved', 'git-upload-pack', pkts(...lines, '0000'), { headers: v2 })).text

for (const version of ['0', '2']) {
  t.test(`protocol v${version}: refs/pr/* are read by git, refs/internal/* are not there`, async (t) => {
    const config = ['-c', `protocol.version=${version}`]
    const listed = (await gitText(dir, ...config, 'ls-remote', remote)).split('\n')
    t.same(
      listed.map((line) => line.slice(41)),
      ['HEAD', 'refs/heads/main', 'refs/pr/1'],
    )
    const clone = join(dir, `clone-v${version}`)
    await git([...config, 'clone', '-q', remote, clone])
    t.equal((await git(['cat-file', '-e', change], { cwd: clone, ok: false })).code, 1, 'a clone does without')
    await git([...config, 'fetch', '-q', 'origin', 'refs/pr/1:refs/heads/pr'], { cwd: clone })
    t.equal(await gitText(clone, 'rev-parse', 'pr'), change)
    await git([...config, 'fetch', '-q', 'origin', change], { cwd: clone })
    for (const wanted of ['refs/internal/keep', hidden, parent]) {
      const { code, stderr } = await git([...config, 'fetch', 'origin', wanted], { cwd: clone, ok: false })
      t.not(code, 0, wanted)
      t.match(stderr, /not our ref|couldn't find remote ref/, wanted)
    }
  })
}

t.test('what is hidden is not given away by any argument of a fetch', async (t) => {
  const fetch = (...lines: readonly string[]) => ask('command=fetch', '0001', 'ofs-delta', 'no-progress', ...lines)
  for (const oid of [hidden, parent, secret]) t.match(await fetch(`want ${oid}`, 'done'), `ERR upload-pack: not our ref ${oid}`)
  t.match(await fetch('want-ref refs/internal/keep', 'done'), 'ERR unknown ref refs/internal/keep')
  t.match(await fetch(`want ${main}`, 'deepen-not refs/internal/keep', 'done'), "ERR deepen-not: 'refs/internal/keep' is no ref here")
  const unshallowed = await fetch(`want ${main}`, `have ${main}`, `shallow ${hidden}`, 'deepen 2147483647', 'done')
  t.notMatch(unshallowed, `unshallow ${hidden}`)
  t.match(unshallowed, 'PACK\0\0\0\x02\0\0\0\0', 'and nothing is sent')
  t.equal(
    await ask('command=object-info', '0001', 'size', `oid ${secret}`, `oid ${'1'.repeat(40)}`),
    pkts('size', `${secret} `, `${'1'.repeat(40)} `, '0000').toString(),
  )
})

t.test('refs/pr/*, refs/convert/* and refs/internal/* are not written by git push', async (t) => {
  const refspecs = [
    `${main}:refs/pr/1`,
    `${main}:refs/pr/2`,
    ':refs/pr/1',
    `${main}:refs/convert/parquet`,
    `${main}:refs/internal/x`,
    ':refs/internal/keep',
  ]
  for (const refspec of refspecs) {
    const { code, stderr } = await git(['push', '--force', remote, refspec], { cwd: work.cwd, ok: false })
    t.not(code, 0, refspec)
    t.match(stderr, /deny updating a hidden ref|remote ref does not exist/, refspec)
  }
  t.equal(await gitText(dir, 'ls-remote', remote, 'refs/pr/1'), `${change}\trefs/pr/1`)
})
