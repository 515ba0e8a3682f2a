import { chmod, lstat, mkdir, readFile, symlink, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'

interface Link {
  readonly source: string
  readonly target: string
}

/**
 * Makes the links between the shared libraries where the package's install script did not run: `libpq.so.5` and the like. In the package
 * when that may be written, else in `ownFolder`, and then the variables come back by which the loader looks there.
 */
export async function ensureLibraries(nativeDirectory: string, ownFolder: string): Promise<Readonly<Record<string, string>>> {
  const packageDirectory = join(nativeDirectory, '..')
  const links = JSON.parse(await readFile(join(nativeDirectory, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as readonly Link[]
  const missing: Link[] = []
  for (const link of links) {
    if (!(await exists(join(packageDirectory, link.target)))) missing.push(link)
  }
  if (missing.length === 0) return {}
  try {
    for (const { source, target } of missing) await makeLink(basename(source), join(packageDirectory, target))
    return {}
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
  await mkdir(ownFolder, { recursive: true })
  await chmod(ownFolder, 0o755) // the account that runs the database reads here
  for (const { source, target } of missing) {
    const path = join(ownFolder, basename(target))
    await unlink(path).catch(() => undefined) // an earlier one may lead to a package that moved
    await makeLink(join(packageDirectory, source), path)
  }
  return { [process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH']: ownFolder }
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )

async function makeLink(to: string, path: string): Promise<void> {
  await symlink(to, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error // another hub was faster
  })
}
