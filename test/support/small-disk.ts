import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Teardown {
  teardown(work: () => unknown): void
}

const mount = (folder: string, size: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'cairn-test', folder], { encoding: 'utf8' })
const unmount = (folder: string) => spawnSync('umount', ['-l', folder])
const newFolder = () => mkdtempSync(join(tmpdir(), 'cairn-small-disk-'))

/** Why there can be no small disk here: the reason that a skipped test names. */
export function smallDiskMissing(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a small disk needs root and Linux'
  const folder = newFolder()
  try {
    const { status, error, stderr } = mount(folder, '1m')
    if (status !== 0) return `no tmpfs can be mounted: ${(error?.message ?? stderr).trim()}`
    unmount(folder)
    return false
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A disk of that size, such as `4m`, until the test ends. */
export function mountSmallDisk(t: Teardown, size: string): string {
  const folder = newFolder()
  t.teardown(() => {
    unmount(folder)
    rmSync(folder, { recursive: true, force: true })
  })
  const { status, error, stderr } = mount(folder, size)
  if (status !== 0) throw new Error(`no tmpfs can be mounted: ${(error?.message ?? stderr).trim()}`)
  return folder
}

/** Takes all the room there is. Comes back with what gives it back. */
export function fillDisk(folder: string): () => void {
  const path = join(folder, 'rubbish')
  for (let bytes = 2 ** 20; bytes >= 1; bytes = bytes >> 1) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  return () => rmSync(path)
}
