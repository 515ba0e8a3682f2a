import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startHub } from '../support/hub.js'
import { findGitLfs } from '../support/tools/git-lfs.js'
import { lfsPerson, sha256Of, someBytes } from '../support/tools/lfs-person.js'
import { openTcpGate } from '../support/tools/tcp-gate.js'

const size = 16 * 2 ** 20
const hub = await startHub(t)
const gate = await openTcpGate(t, hub.url)
const { found } = (await findGitLfs()).at(-1)!

const postmaster = () => Number(readFileSync(join(hub.dataDirectory, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0])

/** Files of the store that hold large objects, or part of one, whatever their name. */
const storedFiles = (): string[] =>
  readdirSync(join(hub.dataDirectory, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(pack|idx|rev|tbl)$/.test(entry.name))
    .map((entry) => entry.name)

for (const victim of ['hub', 'database'] as const) {
  t.test(`the ${victim} is killed during an upload: nothing partial is readable, and the next push is whole`, { skip: found.missing }, async (t) => {
    const admin = await lfsPerson(t, { hub, gitLfs: found.tool!, name: 'admin' })
    await admin.signIn(gate.url)
    const dir = t.testdir()
    const storedBefore = storedFiles().length
    for (const [i, percent] of [10, 50, 90].entries()) {
      const repo = `${victim}-${percent}`
      const [work, clone] = [join(dir, repo), join(dir, `${repo}-clone`)]
      await admin.createRepo({ name: repo, type: 'model', private: true })
      await admin.git(['clone', '-q', `${gate.url}/admin/${repo}`, work])
      const bytes = someBytes(size)
      const oid = sha256Of(bytes)
      const download = async () => {
        const { status, body } = await admin.api('POST', `/admin/${repo}.git/info/lfs/objects/batch`, {
          operation: 'download',
          objects: [{ oid, size }],
        })
        t.equal(status, 200)
        return (body as { objects: { actions?: unknown }[] }).objects[0]?.actions
      }
      await admin.commit(work, { 'model.bin': bytes })

      const shut = gate.shutAfter('up', (size * percent) / 100)
      const push = admin.git(['-c', 'lfs.transfer.maxretries=1', 'push', 'origin', 'main'], work, { ok: false })
      await shut
      if (victim === 'hub') await hub.kill()
      else process.kill(postmaster(), 'SIGKILL')
      gate.open()
      const { code } = await push
      if (victim === 'hub') {
        t.not(code, 0)
        await hub.restart()
        t.equal(await download(), undefined, `at ${percent} %`)
        t.equal(storedFiles().length, storedBefore + i, 'no part of it is kept')
      } else {
        // A database is back before a client has given up, or it is not: either is right.
        while (!(await fetch(`${hub.url}/readyz`)).ok) await new Promise((resolve) => setTimeout(resolve, 100))
        if (code !== 0) t.equal(await download(), undefined, `at ${percent} %`)
      }

      await admin.git(['push', '-q', 'origin', 'main'], work)
      await admin.git(['clone', '-q', `${hub.url}/admin/${repo}`, clone])
      t.ok(bytes.equals(await readFile(join(clone, 'model.bin'))), `${percent} %`)
    }
    t.equal(storedFiles().length, storedBefore + 3)
  })
}
