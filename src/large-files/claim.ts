import { parseLfsOid, type LfsOid } from '../../lfs/types.js'
import { linkFromRepositories, listLinkingRepositories, lockLiveRepository, renewLinks, type ObjectRow } from '../db/large-objects.js'
import type { Database } from '../db/pool.js'
import { HubError } from '../errors.js'
import type { LargeFiles } from './large-files.js'

/**
 * All in one transaction. An object that is linked here is answered with its true size, whatever was said; one that is not is linked only when
 * the size said is the true one, and is otherwise as unknown as one that nobody has.
 */
export function createClaim(db: Database): LargeFiles['claim'] {
  return ({ repoId, objects, mayRead }) => {
    const byOid = new Map(objects.map((object) => [object.oid, object]))
    if (byOid.size === 0) return Promise.resolve(new Map())
    return db.transaction(async (tx) => {
      if (!(await lockLiveRepository(tx, repoId))) throw new HubError('repo-not-found', 'Repository not found')
      const known = await renewLinks(tx, repoId, [...byOid.keys()])
      for (const { oid } of known) byOid.delete(parseLfsOid(oid))
      if (byOid.size === 0) return sizesOf(known)
      const others = await listLinkingRepositories(tx, [...byOid.keys()])
      const readable = others.filter((repo) => repo.id !== repoId && mayRead(repo)).map(({ id }) => id)
      if (readable.length === 0) return sizesOf(known)
      return sizesOf([...known, ...(await linkFromRepositories(tx, repoId, [...byOid.values()], readable))])
    })
  }
}

export const sizesOf = (rows: readonly ObjectRow[]): ReadonlyMap<LfsOid, number> => new Map(rows.map(({ oid, size }) => [parseLfsOid(oid), size]))
