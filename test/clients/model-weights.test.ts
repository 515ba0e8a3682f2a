import { readFile, readdir, cp } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startHub } from '../support/hub.js'
import { findGitLfs, type GitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, sha256Of, sha256OfFile } from '../support/tools/lfs-person.js'
import { findModel, weights } from '../support/tools/model-weights.js'

const { tool: model, missing } = await findModel()
const versions = await findGitLfs()
const hub = await startHub(t)
const nameFor = ({ slug }: GitLfs) => `minilm-${slug}`

for (const { name, found } of versions) {
  t.test(`${name}: a real model is pushed, cloned, and every byte is the same`, { skip: missing || found.missing }, async (t) => {
    const admin = await lfsPerson(t, { hub, gitLfs: found.tool!, name: 'admin' })
    const repo = nameFor(found.tool!)
    await admin.createRepo({ name: repo, type: 'model' })
    const dir = t.testdir()
    const [work, clone] = [join(dir, 'work'), join(dir, 'clone')]
    await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, work])
    // As somebody would who has the files of a model: its own .gitattributes among them.
    await cp(model!, work, { recursive: true })
    await admin.commit(work, {}, 'the model')
    await admin.git(['push', '-q', 'origin', 'main'], work)
    const sha256 = await sha256OfFile(join(model!, weights.path))
    t.equal(sha256, weights.sha256)
    t.match(await admin.text(['lfs', 'ls-files', '--long'], work), `${sha256} * ${weights.path}`)

    await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, clone])
    const files = (await readdir(model!, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    t.equal(files.length, 13)
    for (const { parentPath, name } of files) {
      const path = join(parentPath, name).slice(model!.length + 1)
      t.equal(await sha256OfFile(join(clone, path)), await sha256OfFile(join(model!, path)), path)
    }
  })
}

const pushed = versions.at(-1)!.found

t.test('the same model is fetched file by file, whole and by range', { skip: missing || pushed.missing }, async (t) => {
  const repo = nameFor(pushed.tool!)
  const url = `${hub.url}/admin/${repo}/resolve/main/${weights.path}`
  const head = await fetch(url, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(head.headers.get('content-length'), String(weights.size))
  t.equal(head.headers.get('x-linked-size'), String(weights.size))
  t.equal(head.headers.get('x-linked-etag'), `"${weights.sha256}"`)
  const bytes = await readFile(join(model!, weights.path))
  t.equal(sha256Of(new Uint8Array(await (await fetch(url)).arrayBuffer())), weights.sha256)
  for (const [range, from, to] of [
    ['bytes=0-7', 0, 8],
    ['bytes=65535-65536', 65_535, 65_537],
    ['bytes=50000000-60000000', 50_000_000, 60_000_001],
    ['bytes=-16', weights.size - 16, weights.size],
    ['bytes=90000000-', 90_000_000, weights.size],
  ] as const) {
    const part = await fetch(url, { headers: { range } })
    t.equal(part.status, 206, range)
    t.equal(part.headers.get('content-range'), `bytes ${from}-${to - 1}/${weights.size}`)
    t.ok(bytes.subarray(from, to).equals(Buffer.from(await part.arrayBuffer())), range)
  }
  const small = await fetch(`${hub.url}/admin/${repo}/resolve/main/config.json`)
  t.same(await small.json(), JSON.parse(await readFile(join(model!, 'config.json'), 'utf8')))
})
