import type { RepoState } from '../../src/db/versions.js'
import { pushed } from './collections.js'
import { create, move, type Domain } from './domain.js'
import { git } from './git.js'

/** Brings a repository of a hub forward to what a bare one holds, in one push. No ref may have gone. */
export class Mirror {
  readonly #domain: Domain
  readonly #repo: RepoState
  readonly #bare: string
  readonly #known = new Map<string, string>()

  constructor(domain: Domain, repo: RepoState, bare: string) {
    this.#domain = domain
    this.#repo = repo
    this.#bare = bare
  }

  async push(): Promise<void> {
    const before = new Set(this.#known.values())
    const commands = []
    for (const [name, oid] of await refsOf(this.#bare)) {
      const old = this.#known.get(name)
      if (old !== oid) commands.push(old === undefined ? create(name, oid) : move(name, old, oid))
      this.#known.set(name, oid)
    }
    const revisions = [...commands.map(({ newOid }) => newOid), ...[...before].map((oid) => `^${oid}`)]
    const args = ['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q']
    const { stdout } = await git(args, { cwd: this.#bare, input: Buffer.from(`${revisions.join('\n')}\n`) })
    await pushed(this.#domain, this.#repo, { commands, pack: stdout })
  }
}

/** Names and what they are at. */
export async function refsOf(bare: string): Promise<(readonly [string, string])[]> {
  const { stdout } = await git(['for-each-ref', '--format=%(refname) %(objectname)'], { cwd: bare })
  const lines = stdout.toString().trim().split('\n')
  return lines.map((line) => line.split(' ') as [string, string])
}
