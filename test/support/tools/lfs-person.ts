import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { git, type GitOptions, type GitResult } from '../git.js'
import type { Hub } from '../hub.js'
import type { GitLfs } from './git-lfs.js'

interface Teardown {
  teardown(work: () => unknown): void
}

type PersonsHub = Pick<Hub, 'url' | 'token' | 'api'>

/** Somebody at a machine of their own, with git-lfs set up as its manual says and a token in git's credential store. */
export interface LfsPerson {
  readonly name: string
  readonly token: string
  /** For programs started otherwise. */
  readonly env: Readonly<Record<string, string>>
  git(args: readonly string[], cwd?: string, options?: Omit<GitOptions, 'cwd'>): Promise<GitResult>
  /** What git printed, trimmed. */
  text(args: readonly string[], cwd?: string): Promise<string>
  /** Writes the files and commits them all. */
  commit(cwd: string, files: Readonly<Record<string, string | Uint8Array>>, message?: string): Promise<void>
  /** Keeps the token for another address of the hub. */
  signIn(url: string): Promise<void>
  api(method: string, path: string, body?: unknown): ReturnType<Hub['api']>
  /** @throws Error unless it was made */
  createRepo(repo: Readonly<Record<string, unknown>>): Promise<void>
}

/** A user of that name is made, unless it is the admin. */
export async function lfsPerson(t: Teardown, { hub, gitLfs, name }: { hub: PersonsHub; gitLfs: GitLfs; name: string }): Promise<LfsPerson> {
  const home = await mkdtemp(join(tmpdir(), 'cairn-lfs-home-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  const token = name === 'admin' ? hub.token : await makeUser(hub, name)
  const env = { HOME: home, XDG_CONFIG_HOME: join(home, '.config'), PATH: gitLfs.path }
  const run = (args: readonly string[], cwd?: string, { env: more, ...options }: Omit<GitOptions, 'cwd'> = {}) =>
    git(args, { ...(cwd === undefined ? {} : { cwd }), ...options, env: { ...env, ...more } })
  const person: LfsPerson = {
    name,
    token,
    env,
    git: run,
    text: async (args, cwd) => (await run(args, cwd)).stdout.toString('utf8').trim(),
    async commit(cwd, files, message = 'more') {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(cwd, path)), { recursive: true })
        await writeFile(join(cwd, path), content)
      }
      await run(['add', '-A'], cwd)
      await run(['commit', '-q', '-m', message], cwd)
    },
    async signIn(url) {
      const { protocol, host } = new URL(url)
      await writeFile(join(home, '.git-credentials'), `${protocol}//${name}:${token}@${host}\n`, { flag: 'a', mode: 0o600 })
    },
    api: (method, path, body) => hub.api(method, path, body, token),
    async createRepo(repo) {
      const { status, body } = await hub.api('POST', '/api/repos/create', repo, token)
      if (status !== 200) throw new Error(`create answered ${status}: ${JSON.stringify(body)}`)
    },
  }
  await run(['lfs', 'install', '--skip-repo'], home)
  await run(['config', '--global', 'credential.helper', 'store'], home)
  await person.signIn(hub.url)
  return person
}

async function makeUser(hub: PersonsHub, name: string): Promise<string> {
  await hub.api('POST', '/api/cairn/users', { name })
  const { status, body } = await hub.api('POST', `/api/cairn/users/${name}/tokens`, { name: 'laptop' })
  if (status !== 200) throw new Error(`a token for ${name} was answered with ${status}: ${JSON.stringify(body)}`)
  return (body as { token: string }).token
}

/** Bytes that nothing has seen before and that no compression makes smaller. */
export const someBytes = (size: number): Buffer => randomBytes(size)

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export const sha256OfFile = async (path: string): Promise<string> => sha256Of(await readFile(path))

/** Requests of a method that git-lfs sent, from what it printed under GIT_CURL_VERBOSE. */
export const requestsIn = (printed: string, method: string): number => printed.match(new RegExp(`^> ${method} `, 'gm'))?.length ?? 0
