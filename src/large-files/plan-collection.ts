import type { LfsOid } from '../../lfs/types.js'
import type { LinkingRepository, LinkRow } from '../db/unused-large-objects.js'
import { HubError } from '../errors.js'

/** Oids of links, by what is to become of them. */
export interface RepositoryPlan {
  readonly repository: LinkingRepository
  /** Seen in use: the mark goes, and the grace begins anew. */
  readonly renew: readonly string[]
  /** Not in use, and not seen for the grace. */
  readonly mark: readonly string[]
  /** Marked for the second grace, and still not in use. */
  readonly remove: readonly string[]
  /** Links without a mark. */
  readonly unmarked: number
}

/** What may be marked in one run. */
export interface ShrinkLimit {
  /** Part of the links without a mark, 0 to 1. */
  readonly share: number
  /** So many may always be. */
  readonly floor: number
}

/**
 * What to do with the links of a repository, given which oids something in it points to. A live set that knows none of the links, or
 * too few, is taken for a mistake.
 * @throws HubError `conflict`; not with `force`
 */
export function planRepository(
  repository: LinkingRepository,
  links: readonly LinkRow[],
  live: ReadonlySet<LfsOid>,
  limit: ShrinkLimit,
  force: boolean,
): RepositoryPlan {
  const isLive = ({ oid }: LinkRow) => live.has(oid as LfsOid)
  const mayGo = repository.deleted !== 'lately'
  const plan: RepositoryPlan = {
    repository,
    renew: oidsOf(links.filter((link) => isLive(link) && (link.marked || link.halfUnseen))),
    mark: mayGo ? oidsOf(links.filter((link) => !isLive(link) && !link.marked && link.unseen)) : [],
    remove: mayGo ? oidsOf(links.filter((link) => !isLive(link) && link.due)) : [],
    unmarked: links.filter(({ marked }) => !marked).length,
  }
  if (force || repository.deleted !== 'no') return plan
  if (live.size === 0 && plan.unmarked > 0 && plan.mark.length + plan.remove.length > 0) {
    throw new HubError('conflict', `repository ${repository.id} has ${links.length} links to large objects and nothing in it that points to one`)
  }
  checkShrink(`repository ${repository.id}`, plan.mark.length, plan.unmarked, limit)
  return plan
}

/** @throws HubError `conflict` */
export function checkShrink(what: string, marked: number, of: number, { share, floor }: ShrinkLimit): void {
  if (marked > floor && marked > of * share) {
    throw new HubError('conflict', `${what} would lose ${marked} of ${of} links to large objects, over ${Math.round(share * 100)} %`)
  }
}

const oidsOf = (links: readonly LinkRow[]): string[] => links.map(({ oid }) => oid)
