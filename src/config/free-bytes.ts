import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'

/** Bytes free to us on the file system where a folder is, or will be. */
export function freeBytes(folder: string): number {
  for (let at = folder; ; at = dirname(at)) {
    try {
      const { bavail, bsize } = statfsSync(at)
      return bavail * bsize
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) throw error
    }
  }
}
