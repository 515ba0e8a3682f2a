import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, someBytes } from '../support/tools/lfs-person.js'

const hub = await startHub(t)
const count = 1_000
let logged = ''
hub.child.stdout!.on('data', (chunk: Buffer) => (logged += chunk.toString('utf8')))

for (const { name, found } of await findGitLfs()) {
  t.test(`${name}: 1,000 files of 1 KB go up in one push and come down in one clone`, { skip: found.missing }, async (t) => {
    const gitLfs = found.tool!
    const admin = await lfsPerson(t, { hub, gitLfs, name: 'admin' })
    const repo = `many-${gitLfs.slug}`
    await admin.createRepo({ name: repo, type: 'dataset', private: true })
    const dir = t.testdir()
    const [work, clone] = [join(dir, 'work'), join(dir, 'clone')]
    await admin.git(['clone', '-q', `${hub.url}/datasets/admin/${repo}`, work])
    const files = new Map<string, Buffer>()
    for (let i = 0; i < count; i++) files.set(join(`part-${i % 10}`, `${i}.bin`), someBytes(1_024))
    for (let i = 0; i < 10; i++) await mkdir(join(work, `part-${i}`))
    for (const [path, bytes] of files) await writeFile(join(work, path), bytes)
    await admin.commit(work, {})

    logged = ''
    // One batch of all of them for the newest; batches of 100, as they are by default, for the other.
    const batchSize = gitLfs.version === 'git-lfs/3.3.0' ? 100 : count
    const pushed = await admin.git(['-c', `lfs.transfer.batchsize=${batchSize}`, 'push', 'origin', 'main'], work, {
      env: { GIT_LFS_FORCE_PROGRESS: '1' },
    })
    t.match(pushed.stdout.toString() + pushed.stderr, 'Uploading LFS objects: 100% (1000/1000), 1.0 MB')
    // The hub says how many objects each batch had.
    const batches = logged.match(/"objects":(\d+),"toTransfer":\1,.*lfs upload batch answered/g) ?? []
    t.equal(batches.filter((line) => line.includes(`"objects":${batchSize},`)).length, count / batchSize)

    await admin.git(['clone', '-q', `${hub.url}/datasets/admin/${repo}`, clone])
    let same = 0
    for (const [path, bytes] of files) if (bytes.equals(await readFile(join(clone, path)))) same++
    t.equal(same, count)
  })
}
