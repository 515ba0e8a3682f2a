import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, readlink, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { git, gitEnvironment } from './git.js'
import { importHistory } from './histories.js'
import { makeEmpty } from './hostile.js'
import type { Hub } from './hub.js'
import { gitText } from './hub-git.js'
import { runTool, type Found } from './tools/run-tool.js'

export interface CloneOptions {
  /** So many commits of each branch. */
  readonly depth?: number
  /** As git spells it: `blob:none`. */
  readonly filter?: string
}

/**
 * A client that is not git. Addresses have credentials in them, or none; what it cloned from is `origin`. Everything throws what the client said
 * when it failed; a push also when a ref was refused.
 */
export interface GitClient {
  /** With a work tree, all branches and tags. */
  clone(url: string, folder: string, options?: CloneOptions): Promise<void>
  fetch(folder: string, options?: Pick<CloneOptions, 'depth'>): Promise<void>
  /** Refspecs as git's: `+` in front forces, nothing before the colon deletes. */
  push(folder: string, refspecs: readonly string[]): Promise<void>
}

/** What a test of a client works with. */
export interface ClientCase {
  readonly name: string
  readonly found: Found<GitClient>
}

/** Runs one step of a client, with nothing of this machine. @throws with what it said, and nothing of how it was called */
export async function runStep(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> {
  try {
    await runTool(program, args, { env: gitEnvironment(env) })
  } catch (error) {
    const { stderr = '' } = (error as Error).cause as { stderr?: string }
    throw new Error(stderr, { cause: error })
  }
}

/**
 * A program that does one step of a client each time it is run: `clone URL FOLDER DEPTH FILTER`, `fetch FOLDER DEPTH`, `push FOLDER REFSPEC…`.
 * Depth 0: all. Filter '': none.
 */
export function programClient(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): GitClient {
  const run = (...step: readonly string[]) => runStep(program, [...args, ...step], env)
  return {
    clone: (url, folder, { depth = 0, filter = '' } = {}) => run('clone', url, folder, String(depth), filter),
    fetch: (folder, { depth = 0 } = {}) => run('fetch', folder, String(depth)),
    push: (folder, refspecs) => run('push', folder, ...refspecs),
  }
}

/** A private repository without a commit; its address with credentials. */
export async function privateRepo(hub: Hub, name: string): Promise<string> {
  return hub.remote(await makeEmpty(hub, name, { private: true }))
}

/** A branch whose name is not ASCII. */
export const namedBranch = 'größe/日本語'

let history: Promise<string> | undefined

/**
 * A bare repository that nobody changes: 297 commits and their merges on `main` and `side`, a branch whose name is not ASCII, and tags: `v1`
 * annotated, `nested` of that, and `light`. Made once, and gone with the process.
 */
export function sourceHistory(): Promise<string> {
  history ??= makeHistory()
  return history
}

async function makeHistory(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-history-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  await git(['init', '-q', '--bare', folder])
  await importHistory(folder, 300)
  await git(['branch', namedBranch, 'side~2'], { cwd: folder })
  await git(['tag', '-a', '-m', 'first', 'v1', 'main~40'], { cwd: folder })
  await git(['tag', '-a', '-m', 'a tag of a tag', 'nested', 'v1'], { cwd: folder })
  await git(['tag', 'light', 'main~3'], { cwd: folder })
  return folder
}

/** Adds a commit in a work tree; its oid. */
export async function commitFile(folder: string, name: string, content: string | Buffer): Promise<string> {
  await mkdir(join(folder, name, '..'), { recursive: true })
  await writeFile(join(folder, name), content)
  await git(['add', '-A'], { cwd: folder })
  await git(['commit', '-q', '-m', `write ${name}`], { cwd: folder })
  return gitText(folder, 'rev-parse', 'HEAD')
}

/** The branches and tags of a repository as others see them, `HEAD` left out: `oid name` lines. */
export async function remoteRefs(url: string): Promise<string[]> {
  const { stdout } = await git(['ls-remote', '--heads', '--tags', url])
  return stdout.toString().split('\n').filter(Boolean)
}

/** A new clone by git, somewhere below a folder. */
export async function gitClone(url: string, below: string): Promise<string> {
  const folder = await mkdtemp(join(below, 'by-git-'))
  await git(['clone', '-q', url, folder])
  return folder
}

/** A clone has the refs and files of git's own clone, and git finds nothing wrong with it. */
export async function sameAsGitClone(t: Test, folder: string, url: string): Promise<void> {
  const reference = await gitClone(url, dirname(folder))
  await soundClone(folder)
  t.same(await knownRefs(folder), await knownRefs(reference))
  t.equal(await gitText(folder, 'symbolic-ref', 'HEAD'), await gitText(reference, 'symbolic-ref', 'HEAD'))
  t.equal(await gitText(folder, 'rev-parse', 'HEAD'), await gitText(reference, 'rev-parse', 'HEAD'))
  t.same(await filesIn(folder), await filesIn(reference))
}

/** @throws when git finds an object that is missing or not as it should be */
export async function soundClone(folder: string): Promise<void> {
  await git(['fsck', '--strict', '--full', '--no-dangling'], { cwd: folder })
}

/** What is known of branches there, and the tags. */
export async function knownRefs(folder: string): Promise<string[]> {
  const refs = await gitText(folder, 'for-each-ref', '--format=%(objectname) %(refname)', 'refs/remotes/origin', 'refs/tags')
  return refs.split('\n').filter((line) => !line.endsWith(' refs/remotes/origin/HEAD'))
}

/** Each file of a work tree: its path, whether it can be run, and a hash of its bytes. */
export async function filesIn(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const name = path.slice(folder.length + 1)
    if (name === '.git' || name.startsWith('.git/') || entry.isDirectory()) continue
    const bytes = entry.isSymbolicLink() ? await readlink(path) : await readFile(path)
    const mode = entry.isSymbolicLink() ? 'link' : ((await stat(path)).mode & 0o100) === 0 ? 'file' : 'program'
    found.push(`${name} ${mode} ${createHash('sha256').update(bytes).digest('hex')}`)
  }
  return found.toSorted()
}

/** How many commits lead to a name there. */
export const countCommits = async (folder: string, name: string): Promise<number> => Number(await gitText(folder, 'rev-list', '--count', name))
