import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { git } from './git.js'

/** All that a client has: its refs, its history and where it ends, its objects. Where nothing reaches, it ends no more, as after `git gc`. */
async function stateOf(cwd: string): Promise<{ readonly state: object; readonly lacking: readonly string[] }> {
  const path = join(cwd, 'shallow')
  const told = (await readFile(path, 'utf8').catch(() => '')).split('\n').filter(Boolean)
  const commits = await lines(cwd, 'rev-list', '--all')
  const shallow = told.filter((oid) => commits.includes(oid)).toSorted()
  await rm(path, { force: true })
  if (shallow.length > 0) await writeFile(path, shallow.map((oid) => `${oid}\n`).join(''))
  const objects = await lines(cwd, 'cat-file', '--batch-all-objects', '--batch-check=%(objectname) %(objecttype)')
  await git(['fsck', '--strict', '--full', '--no-dangling'], { cwd })
  const state = {
    refs: await lines(cwd, 'for-each-ref', '--format=%(objectname) %(refname)'),
    commits: commits.toSorted(),
    shallow,
    objects: objects.toSorted(),
  }
  return { state, lacking: told.filter((oid) => !objects.includes(`${oid} commit`)) }
}

export interface Servers {
  /** A bare repository that git serves itself. */
  readonly bare: string
  /** The same in a hub. */
  readonly remote: string
  /** For every command of the clients. */
  readonly config: readonly string[]
}

/**
 * The same commands against git's own server and against a hub leave the same behind: one client each, a bare mirror. A step is what stands
 * behind `git fetch origin`, or a whole command after `!`. After the second step both servers get `grow`. A step that fails has to fail
 * on both, for want of commits.
 */
export async function compareWithGit(
  t: Test,
  folder: string,
  { bare, remote, config }: Servers,
  steps: readonly (readonly string[])[],
  grow: () => Promise<void>,
): Promise<void> {
  const clients = [
    { cwd: join(folder, 'of-git'), from: `file://${bare}` },
    { cwd: join(folder, 'of-hub'), from: remote },
  ]
  for (const { cwd, from } of clients) {
    await mkdir(cwd, { recursive: true })
    await git(['init', '-q', '--bare', '.'], { cwd })
    await git(['remote', 'add', '--mirror=fetch', 'origin', from], { cwd })
  }
  for (const [i, step] of steps.entries()) {
    const results: object[] = []
    const command = step[0] === '!' ? step.slice(1) : ['fetch', '-q', 'origin', ...step]
    for (const { cwd, from } of clients) {
      const { code, stderr, stdout } = await git([...config, ...command], { cwd, ok: false })
      const { state, lacking } = await stateOf(cwd)
      results.push({ code, printed: stdout.toString(), ...state })
      // git names a border behind another, and its client is stuck with what it did not get.
      if (from === remote) t.same(lacking, [], `${command.join(' ')} cuts at commits that are there`)
      if (code !== 0) t.match(stderr, /no commits selected/, command.join(' '))
    }
    t.strictSame(results[1], results[0], `step ${i}: ${command.join(' ')}`)
    if (i === 1) await grow()
  }
}

async function lines(cwd: string, ...args: string[]): Promise<string[]> {
  return (await git(args, { cwd })).stdout.toString('utf8').split('\n').filter(Boolean)
}
