import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'

export interface GitOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: Uint8Array
  /** False: a failure is a result. Otherwise it is thrown, with what git printed. */
  readonly ok?: boolean
}

export interface GitResult {
  readonly stdout: Buffer
  readonly stderr: string
  readonly code: number
}

let home: string | undefined

/** An empty home, so that no setting of this machine takes part. Gone with the process. */
function emptyHome(): string {
  if (home === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'cairn-git-home-'))
    home = made
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  }
  return home
}

const fixed = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_ASKPASS: 'true',
  GIT_AUTHOR_NAME: 'A U Thor',
  GIT_AUTHOR_EMAIL: 'author@example.com',
  GIT_AUTHOR_DATE: '1700000000 +0000',
  GIT_COMMITTER_NAME: 'C O Mitter',
  GIT_COMMITTER_EMAIL: 'committer@example.com',
  GIT_COMMITTER_DATE: '1700000000 +0000',
  LC_ALL: 'C',
  // A test whose folder is gone must never find the repository of the project above it, and commit there.
  GIT_CEILING_DIRECTORIES: join(import.meta.dirname, '..', '..', '..'),
}

/** The environment in which `git` runs: nothing of this machine, no questions, people and dates fixed. For tests that start git themselves. */
export function gitEnvironment(env: Readonly<Record<string, string>> = {}): Record<string, string> {
  const home = emptyHome()
  return { PATH: process.env['PATH'] ?? '', TMPDIR: tmpdir(), HOME: home, XDG_CONFIG_HOME: join(home, '.config'), ...fixed, ...env }
}

/**
 * Runs the real git. The default branch of `git init` is main.
 * @throws Error with what git printed, when it fails and `ok` is not false
 */
export async function git(args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const settings = ['-c', 'init.defaultBranch=main', '-c', 'gc.auto=0', '-c', 'protocol.file.allow=always']
  const child = spawn('git', [...settings, ...args], { cwd: options.cwd, env: gitEnvironment(options.env), stdio: 'pipe' })
  const closed = once(child, 'close')
  child.stdin.on('error', () => {}) // git may end without reading it all
  child.stdin.end(options.input)
  const [stdout, stderr, [code, signal]] = await Promise.all([buffer(child.stdout), text(child.stderr), closed])
  if (code !== 0 && options.ok !== false) throw new Error(`git ${args.join(' ')} ended with ${code ?? signal}: ${stderr}`)
  return { stdout, stderr, code: code ?? -1 }
}
