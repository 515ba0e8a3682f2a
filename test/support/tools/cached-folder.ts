import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** What takes long to get, kept from run to run: a fresh clone has no folder of its own for it. */
const cacheRoot = join(homedir(), '.cache', 'cairn-test')
const pollMs = 100

/**
 * The folder called `name` in the cache, filled by `make` unless it is there. Names hold versions: what is there is never made again.
 * It gets its name when it is whole. Of several processes that ask at once one makes it, and the others wait.
 * @throws whatever `make` throws; nothing is left then
 */
export async function cachedFolder(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheRoot, name)
  if (existsSync(folder)) return folder
  await mkdir(cacheRoot, { recursive: true })
  const lock = `${folder}.lock`
  await takeLock(lock)
  try {
    if (existsSync(folder)) return folder
    await removeUnfinished(`${name}.new-`)
    const making = `${folder}.new-${process.pid}`
    await mkdir(making)
    try {
      await make(making)
      await rename(making, folder)
    } finally {
      await rm(making, { recursive: true, force: true })
    }
    return folder
  } finally {
    await rm(lock, { force: true })
  }
}

async function removeUnfinished(prefix: string): Promise<void> {
  for (const entry of await readdir(cacheRoot)) if (entry.startsWith(prefix)) await rm(join(cacheRoot, entry), { recursive: true, force: true })
}

/** A file with the holder's process id; one whose holder was killed is taken over. */
async function takeLock(path: string): Promise<void> {
  for (;;) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = Number(await readFile(path, 'utf8').catch(() => ''))
    // Zero: not written yet, or gone meanwhile.
    if (holder > 0 && !isAlive(holder)) await rm(path, { force: true })
    else await delay(pollMs)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
