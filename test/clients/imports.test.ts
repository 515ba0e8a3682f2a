import { existsSync } from 'node:fs'
import { cp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { git } from '../support/git.js'
import { importHistory } from '../support/histories.js'
import { projectRoot, startHub } from '../support/hub.js'

const hub = await startHub(t)

/** Pushes everything into an empty repository, clones it elsewhere, and compares every ref and object. */
async function roundTrip(t: Test, name: string, bare: string, scratch: string): Promise<void> {
  t.equal((await hub.api('POST', '/api/cairn/repos', { type: 'model', id: `admin/${name}`, empty: true })).status, 200)
  await git(['push', '-q', '--mirror', hub.remote(`admin/${name}`)], { cwd: bare })
  await git(['clone', '-q', '--mirror', hub.remote(`admin/${name}`), scratch])
  await git(['fsck', '--strict', '--full'], { cwd: scratch })
  const refs = async (cwd: string) => (await git(['for-each-ref', '--format=%(objectname) %(refname)'], { cwd })).stdout.toString()
  t.equal(await refs(scratch), await refs(bare))
  const objects = async (cwd: string) =>
    (await git(['rev-list', '--objects', '--all', '--no-object-names'], { cwd })).stdout.toString().split('\n').toSorted().join('\n')
  t.equal((await objects(scratch)) === (await objects(bare)), true, 'the same objects')
}

t.test('a history of over 100,000 objects goes in and comes out', async (t) => {
  const dir = t.testdir()
  const bare = join(dir, 'big.git')
  await git(['init', '-q', '--bare', bare])
  await importHistory(bare, 17_000)
  const count = Number((await git(['count-objects', '-v'], { cwd: bare })).stdout.toString().match(/in-pack: (\d+)/)?.[1])
  t.ok(count >= 100_000, `${count} objects`)
  await roundTrip(t, 'big', bare, join(dir, 'clone.git'))
  t.equal((await fetch(`${hub.url}/healthz`)).status, 200)
  await rm(dir, { recursive: true })
})

t.test('node_modules without files over 10 MB goes in and comes out', async (t) => {
  const dir = t.testdir()
  const work = join(dir, 'modules')
  await git(['init', '-q', '-b', 'main', work])
  const tenMegabytes = 10 * 1024 * 1024
  await cp(join(projectRoot, 'node_modules'), join(work, 'modules'), {
    recursive: true,
    verbatimSymlinks: true,
    dereference: false,
    filter: async (path) => {
      const info = await stat(path).catch(() => undefined)
      return info !== undefined && (info.isDirectory() || info.size <= tenMegabytes)
    },
  })
  t.ok((await readdir(join(work, 'modules'))).length > 50)
  await git(['-c', 'core.autocrlf=false', 'add', '-A', '-f'], { cwd: work })
  await git(['commit', '-q', '-m', 'modules'], { cwd: work })
  await roundTrip(t, 'modules', join(work, '.git'), join(dir, 'clone.git'))
  await rm(dir, { recursive: true })
})

t.test(
  "this project's own history goes in and comes out",
  { skip: existsSync(join(projectRoot, '.git')) ? false : 'not a git checkout' },
  async (t) => {
    const dir = t.testdir()
    const bare = join(dir, 'own.git')
    await git(['clone', '-q', '--mirror', projectRoot, bare])
    await roundTrip(t, 'own', bare, join(dir, 'clone.git'))
  },
)
