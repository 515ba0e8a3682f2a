import type { LfsOid } from '../../lfs/types.js'
import type { LargeFiles } from '../large-files/large-files.js'

/** True sizes of large objects, where a repository links them. */
export interface LinkedSizes {
  find(repoId: number, oid: LfsOid): Promise<number | undefined>
  /** As it was not long ago. Good enough for headers, which say no more than the pointer does; never for the bytes. */
  findLately(repoId: number, oid: LfsOid): Promise<number | undefined>
}

const maxRemembered = 10_000
/** Deletion takes days to come to the bytes of what is no longer linked. */
const rememberedMs = 10_000

export function createLinkedSizes(largeFiles: Pick<LargeFiles, 'find'>, now: () => number = () => performance.now()): LinkedSizes {
  /** Least recently found first. */
  const remembered = new Map<string, { readonly size: number; readonly until: number }>()

  async function find(repoId: number, oid: LfsOid): Promise<number | undefined> {
    const key = `${repoId}:${oid}`
    const size = (await largeFiles.find(repoId, [oid])).get(oid)
    remembered.delete(key)
    if (size === undefined) return undefined
    remembered.set(key, { size, until: now() + rememberedMs })
    if (remembered.size > maxRemembered) remembered.delete(remembered.keys().next().value!)
    return size
  }

  return {
    find,
    async findLately(repoId, oid) {
      const known = remembered.get(`${repoId}:${oid}`)
      return known && now() < known.until ? known.size : find(repoId, oid)
    },
  }
}
