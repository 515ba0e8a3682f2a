import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { git } from './git.js'
import { importHistory } from './histories.js'
import { memoryPack, type MemoryPack } from './pack-view.js'

/** A pack as it stands in a repository; `name` is that of its `.idx`. */
export interface NamedPack extends MemoryPack {
  readonly name: string
}

/** The packs of a repository in the order of their names. */
export function namedPacksIn(bare: string): NamedPack[] {
  const folder = join(bare, 'objects', 'pack')
  const names = readdirSync(folder).filter((name) => name.endsWith('.pack'))
  return names.toSorted().map((name) => ({ name: name.replace(/pack$/, 'idx'), ...memoryPack(readFileSync(join(folder, name))) }))
}

/**
 * A bare repository of `commits` commits in three packs that share objects: the older half, all of it, and the newest quarter.
 * The packs come youngest first, in that order, whatever their names.
 */
export async function manyPacks(bare: string, commits: number): Promise<NamedPack[]> {
  mkdirSync(bare, { recursive: true })
  await git(['init', '-q', '--bare', '.'], { cwd: bare })
  await importHistory(bare, commits)
  const half = `main~${Math.floor(commits / 4)}`
  const quarter = `main~${Math.floor(commits / 8)}`
  const packs: { name: string; path: string }[] = []
  for (const revs of [[half], ['--all'], ['main', 'side', `^${quarter}`]]) {
    const args = ['pack-objects', '-q', '--revs', '--delta-base-offset', ...revs.filter((rev) => rev.startsWith('--')), join(bare, 'made')]
    const { stdout } = await git(args, { cwd: bare, input: Buffer.from(revs.filter((rev) => !rev.startsWith('--')).join('\n')) })
    packs.push({ name: `pack-${stdout.toString().trim()}.idx`, path: join(bare, `made-${stdout.toString().trim()}`) })
  }
  // What fast-import wrote goes; these stay.
  const folder = join(bare, 'objects', 'pack')
  for (const file of readdirSync(folder)) rmSync(join(folder, file))
  const youngest = Math.floor(Date.now() / 1000)
  return packs.map(({ name, path }, i) => {
    const at = join(folder, name.replace(/\.idx$/, ''))
    for (const ext of ['pack', 'idx']) renameSync(`${path}.${ext}`, `${at}.${ext}`)
    utimesSync(`${at}.pack`, youngest - i * 100, youngest - i * 100)
    return { name, ...memoryPack(readFileSync(`${at}.pack`)) }
  })
}
