import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { git } from '../support/git.js'
import { startHub } from '../support/hub.js'

const rounds = Number(process.env['CAIRN_TEST_KILL_ROUNDS'] ?? 15)
const faults = [
  'after-blob hub',
  'before-commit hub',
  'at-commit hub',
  'after-commit hub',
  'after-blob database',
  'before-commit database',
  'at-commit database',
  'at-commit connection',
  'before-commit connection',
] as const

const scratch = t.testdir()
const faultFile = join(scratch, 'fault')
const hub = await startHub(t, {
  env: { CAIRN_TEST_FAULT: faultFile },
  nodeArgs: ['--import', join(import.meta.dirname, '..', 'support', 'fault.js')],
})

async function spoolFiles(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return []
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

async function tipOf(branch: string): Promise<string> {
  return (await git(['ls-remote', hub.remote('admin/killed'), `refs/heads/${branch}`])).stdout.toString().slice(0, 40)
}

t.test(`hub, database and connection killed at named points, ${rounds} rounds: nothing acknowledged is lost, nothing is guessed`, async (t) => {
  const made = await hub.api('POST', '/api/cairn/repos', { type: 'model', id: 'admin/killed', empty: true })
  t.equal(made.status, 200)
  const work = join(scratch, 'work')
  await git(['init', '-q', '-b', 'main', work])
  let acknowledged = ''
  for (let round = 0; round < rounds; round++) {
    const fault = faults[round % faults.length]!
    // Every third push is too big to live in the database.
    await writeFile(
      join(work, 'file'),
      round % 3 === 0 ? Buffer.from(Array.from({ length: 200_000 }, () => Math.floor(Math.random() * 256))) : `round ${round}\n`,
    )
    await git(['add', '-A'], { cwd: work })
    await git(['commit', '-q', '-m', `${round}: ${fault}`], { cwd: work })
    const attempted = (await git(['rev-parse', 'HEAD'], { cwd: work })).stdout.toString().trim()
    await writeFile(faultFile, fault)
    const push = await git(['push', '-q', hub.remote('admin/killed'), 'main'], { cwd: work, ok: false })
    t.notOk(existsSync(faultFile), `${fault} struck`)
    await hub.restart()

    const tip = await tipOf('main')
    if (push.code === 0) acknowledged = attempted
    t.ok(tip === acknowledged || tip === attempted, `${fault}: the branch is at an acknowledged commit or at the attempted one`)
    if (/^(after-blob|before-commit)/.test(fault)) t.equal(tip, acknowledged, `${fault}: nothing half-done`)
    if (fault.startsWith('after-commit')) t.equal(tip, attempted, `${fault}: committed is committed`)
    t.same(await spoolFiles(join(hub.dataDirectory, 'spool')), [], 'no spool is left')

    await git(['push', '-q', hub.remote('admin/killed'), 'main'], { cwd: work })
    acknowledged = attempted
    t.equal(await tipOf('main'), attempted, `${fault}: the retry goes through`)
  }
  const clone = join(scratch, 'clone')
  await git(['clone', '-q', '--mirror', hub.remote('admin/killed'), clone])
  await git(['fsck', '--strict', '--full'], { cwd: clone })
  t.equal((await git(['rev-list', '--count', 'main'], { cwd: clone })).stdout.toString().trim(), String(rounds))
})
