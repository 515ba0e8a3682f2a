import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobInfo } from './blob-store.js'
import { ifMissing } from './error-codes.js'
import { isBlobKey } from './keys.js'

/**
 * The blobs below `directory` whose key begins with `prefix`, by key. One folder at a time is in memory; files that are no blobs are
 * passed over.
 */
export async function* listFiles(directory: string, prefix: string, folder = ''): AsyncGenerator<BlobInfo> {
  const entries = await readdir(join(directory, folder), { withFileTypes: true }).catch(ifMissing([]))
  // A folder sorts as the keys in it do: with its slash.
  const names = entries.map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : '')).toSorted(byCodeUnit)
  for (const name of names) {
    if (name.endsWith('/')) {
      if (name.startsWith(prefix) || prefix.startsWith(name)) yield* listFiles(directory, prefix, name)
    } else if (name.startsWith(prefix) && isBlobKey(name)) {
      const stats = await stat(join(directory, name)).catch(ifMissing(undefined))
      if (stats) yield { key: name, bytes: stats.size, modifiedAt: stats.mtime }
    }
  }
}

/** As stores sort keys, which are ASCII. */
export const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
