import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { gitEnvironment } from '../support/git.js'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, sha256Of, someBytes, type LfsPerson } from '../support/tools/lfs-person.js'
import { openTcpGate } from '../support/tools/tcp-gate.js'

const size = 24 * 2 ** 20
const hub = await startHub(t)
const gate = await openTcpGate(t, hub.url)

/** A git in a session of its own, so that it can be killed with everything it started. */
function startGit(person: LfsPerson, args: readonly string[], cwd: string): { kill(): Promise<void> } {
  const child = spawn('git', args, { cwd, env: gitEnvironment(person.env), stdio: 'ignore', detached: true })
  const closed = once(child, 'close')
  return {
    async kill() {
      process.kill(-child.pid!, 'SIGKILL')
      await closed
    },
  }
}

/** Whether the hub would hand the object out. */
async function isReadable(t: Test, person: LfsPerson, repo: string, oid: string): Promise<boolean> {
  const { status, body } = await person.api('POST', `/admin/${repo}.git/info/lfs/objects/batch`, {
    operation: 'download',
    objects: [{ oid, size }],
  })
  t.equal(status, 200)
  const [object] = (body as { objects: { actions?: unknown; error?: { code: number } }[] }).objects
  return object?.actions !== undefined
}

for (const { name, found } of await findGitLfs()) {
  const slug = found.tool?.slug ?? ''

  t.test(`${name}: a client that is killed while it sends leaves nothing to read, and sends again`, { skip: found.missing }, async (t) => {
    const admin = await lfsPerson(t, { hub, gitLfs: found.tool!, name: 'admin' })
    await admin.signIn(gate.url)
    const dir = t.testdir()
    for (const percent of [10, 50, 90]) {
      const repo = `killed-${slug}-${percent}`
      await admin.createRepo({ name: repo, type: 'model', private: true })
      const [work, clone] = [join(dir, repo), join(dir, `${repo}-clone`)]
      await admin.git(['clone', '-q', `${gate.url}/admin/${repo}`, work])
      const bytes = someBytes(size)
      await admin.commit(work, { 'model.bin': bytes })
      const shut = gate.shutAfter('up', (size * percent) / 100)
      const push = startGit(admin, ['push', 'origin', 'main'], work)
      await shut
      t.notOk(await isReadable(t, admin, repo, sha256Of(bytes)), `at ${percent} %`)
      await push.kill()
      gate.open()
      t.notOk(await isReadable(t, admin, repo, sha256Of(bytes)), `killed at ${percent} %`)
      await admin.git(['push', '-q', 'origin', 'main'], work)
      await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, clone])
      t.ok(bytes.equals(await readFile(join(clone, 'model.bin'))))
    }
  })

  t.test(`${name}: a download that breaks off goes on where it stopped`, { skip: found.missing }, async (t) => {
    const admin = await lfsPerson(t, { hub, gitLfs: found.tool!, name: 'admin' })
    await admin.signIn(gate.url)
    const repo = `resumed-${slug}`
    const dir = t.testdir()
    const [work, clone] = [join(dir, 'work'), join(dir, 'clone')]
    await admin.createRepo({ name: repo, type: 'model', private: true })
    await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, work])
    const bytes = someBytes(size)
    await admin.commit(work, { 'model.bin': bytes })
    await admin.git(['push', '-q', 'origin', 'main'], work)
    await admin.git(['clone', '-q', `${gate.url}/admin/${repo}`, clone], undefined, { env: { GIT_LFS_SKIP_SMUDGE: '1' } })

    const shut = gate.shutAfter('down', size / 2)
    const pull = () => admin.git(['lfs', 'pull'], clone, { env: { GIT_CURL_VERBOSE: '1' }, ok: false })
    const broken = pull()
    await shut
    await delay(500)
    gate.open()
    // Whether it tries again by itself is its own affair.
    const printed = (await broken).stderr + (await pull()).stderr
    const [, from = ''] = /^> Range: bytes=(\d+)-/m.exec(printed) ?? []
    t.ok(Number(from) > size / 4, `${from} bytes were kept`)
    t.match(printed, `> Range: bytes=${from}-${size - 1}`)
    t.match(printed, /^< HTTP\/1\.1 206 Partial Content/m)
    t.match(printed, `< Content-Range: bytes ${from}-${size - 1}/${size}`)
    t.ok(bytes.equals(await readFile(join(clone, 'model.bin'))))
  })
}
