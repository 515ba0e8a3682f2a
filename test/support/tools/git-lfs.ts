import { dirname } from 'node:path'
import { goProgram } from './go-install.js'
import { findTool, runTool, type Found } from './run-tool.js'

const newest = '3.8.1'
const goModule = 'github.com/git-lfs/git-lfs/v3'

export interface GitLfs {
  /** Such as `git-lfs/3.8.1`. */
  readonly version: string
  /** For names of things that belong to a test of it. */
  readonly slug: string
  /** The search path with which `git lfs` is this one. */
  readonly path: string
}

export interface NamedGitLfs {
  readonly name: string
  readonly found: Found<GitLfs>
}

/** The git-lfs that this machine has (Debian's, where `npm test` installs it), and the newest release, built by Go. */
export async function findGitLfs(): Promise<readonly NamedGitLfs[]> {
  const searchPath = process.env['PATH'] ?? ''
  const built = await findTool(`git-lfs ${newest}`, async () => `${await buildNewest()}:${searchPath}`)
  return [
    { name: 'git-lfs of this machine', found: await findTool('git-lfs', () => describe(searchPath)) },
    {
      name: `git-lfs ${newest}`,
      found: built.tool === undefined ? built : await findTool(`git-lfs ${newest}`, () => describe(built.tool)),
    },
  ]
}

/** The program with which git-lfs checks servers, of the same release. */
export function findLfsServerTest(): Promise<Found<string>> {
  const program = 'git-lfs-test-server-api'
  return findTool(program, () => goProgram({ name: program, packagePath: `${goModule}/t/${program}`, version: `v${newest}` }))
}

const buildNewest = async (): Promise<string> => dirname(await goProgram({ name: 'git-lfs', packagePath: goModule, version: `v${newest}` }))

async function describe(path: string): Promise<GitLfs> {
  const printed = await runTool('git-lfs', ['version'], { env: { ...(process.env as Record<string, string>), PATH: path } })
  const version = printed.split(' ')[0]!
  return { version, slug: version.replaceAll(/\D/g, ''), path }
}
