import type { LfsOid } from '../../lfs/types.js'
import { renewLinks } from '../db/large-objects.js'
import { isLockTimeout, type Database } from '../db/pool.js'
import {
  countUnlinkedObjects,
  findLinker,
  listLinkers,
  listLinks,
  listUnlinkedObjects,
  lockLinks,
  lockRefsAsFound,
  lockUnlinkedObject,
  markLinks,
  markUnlinkedObjects,
  removeLinks,
  removeUnlinkedObject,
  type LinkingRepository,
  type UnlinkedRow,
} from '../db/unused-large-objects.js'
import { HubError } from '../errors.js'
import { checkShrink, planRepository, type RepositoryPlan, type ShrinkLimit } from './plan-collection.js'

export interface LargeFilesCollectorOptions {
  readonly db: Database
  /** Every oid that a pointer names which is reachable in the repository, as it stands when this is called or later. Not asked of deleted ones. */
  readonly livePointers: (repoId: number) => Promise<ReadonlySet<LfsOid>>
  /** How long a link that nothing points to is left alone since it was last seen. Longer than from an upload to the push that names it. */
  readonly unseenGraceMs: number
  /** How long it stays marked, and still counts, before it goes. */
  readonly markedGraceMs: number
  /** How long an object that no repository links stays. Its blob has the graces of `src/kept` on top. */
  readonly objectGraceMs: number
  readonly maxShrink?: ShrinkLimit
  /** How long rows that somebody has locked are waited for. */
  readonly lockWaitMs?: number
}

export interface CollectOptions {
  /** Nothing is touched; the figures are what a run would come to. */
  readonly dryRun?: boolean
  /** Also when that is all there is. */
  readonly force?: boolean
  readonly signal?: AbortSignal
}

/** What one run did, or would do. */
export interface LargeFilesCollection {
  /** Looked at. */
  readonly repositories: number
  readonly links: {
    /** Seen in use after long, or after they had been marked. */
    readonly renewed: number
    readonly marked: number
    readonly removed: number
  }
  readonly objects: {
    /** Found without a link. */
    readonly marked: number
    readonly removed: number
    /** Of the removed ones. */
    readonly removedBytes: number
  }
  /** Left as they are: HubError `conflict` for what was refused, `busy` for what changed all the time, and what the live set threw. */
  readonly failed: readonly { readonly repoId: number; readonly error: unknown }[]
}

export interface LargeFilesCollector {
  /**
   * One run. Of links it first looks at all and then changes them, and of one repository's trouble the others hear nothing.
   * @throws HubError `conflict` when all repositories together would lose too many links: nothing was touched; not with `force`
   */
  collect(options?: CollectOptions): Promise<LargeFilesCollection>
  /** The last step for one object. False: it is linked, was not marked for long enough, is locked, or has gone. */
  removeObject(oid: LfsOid): Promise<boolean>
}

const pageRows = 1000
/** A repository's row is held meanwhile, and pushes wait. */
const linksAtOnce = 1000
const maxPlans = 3

export function createLargeFilesCollector(options: LargeFilesCollectorOptions): LargeFilesCollector {
  const { db, livePointers, unseenGraceMs, markedGraceMs, objectGraceMs, maxShrink = { share: 0.5, floor: 10 }, lockWaitMs = 1_000 } = options

  const planFor = async (repository: LinkingRepository, force: boolean): Promise<RepositoryPlan> => {
    const live: ReadonlySet<LfsOid> = repository.deleted === 'no' ? await livePointers(repository.id) : new Set()
    return planRepository(repository, await listLinks(db, repository.id, unseenGraceMs, markedGraceMs), live, maxShrink, force)
  }

  /** One portion. Undefined: the refs moved since the plan was made. Links that were renewed meanwhile are passed over. */
  const applyPortion = (plan: RepositoryPlan, portion: RepositoryPlan) =>
    db.transaction(
      async (tx) => {
        const { id } = plan.repository
        if (!(await lockRefsAsFound(tx, plan.repository))) return undefined
        await lockLinks(tx, id, [...portion.renew, ...portion.mark, ...portion.remove])
        const renewed = (await renewLinks(tx, id, portion.renew)).length
        const marked = await markLinks(tx, id, portion.mark, unseenGraceMs)
        return { renewed, marked, removed: (await removeLinks(tx, id, portion.remove, markedGraceMs)).length }
      },
      { lockTimeoutMs: lockWaitMs },
    )

  /** Plans again when the repository has moved: what a new ref points to must not lose its link. */
  const applyPlan = async (first: RepositoryPlan, force: boolean, links: Counts['links']): Promise<void> => {
    let plan = first
    for (let plans = 1; ; plans++) {
      if (await applyPortions(plan, links)) return
      if (plans === maxPlans) throw new HubError('busy', `repository ${plan.repository.id} changed each time its large objects were looked at`)
      const repository = await findLinker(db, unseenGraceMs, plan.repository.id)
      if (!repository) return
      plan = await planFor(repository, force)
    }
  }
  const applyPortions = async (plan: RepositoryPlan, links: Counts['links']): Promise<boolean> => {
    for (const portion of portionsOf(plan)) {
      const done = await applyPortion(plan, portion)
      if (!done) return false
      links.renewed += done.renewed
      links.marked += done.marked
      links.removed += done.removed
    }
    return true
  }

  const removeObject = async (oid: string): Promise<boolean> => {
    try {
      return await db.transaction(
        // The second statement sees the links that were made while the first waited for the lock.
        async (tx) => (await lockUnlinkedObject(tx, oid, objectGraceMs)) && removeUnlinkedObject(tx, oid),
        { lockTimeoutMs: lockWaitMs },
      )
    } catch (error) {
      if (isLockTimeout(error)) return false // somebody needs it
      throw error
    }
  }

  /** Objects come first: one whose last link goes in this run has its whole grace before it. */
  const collectObjects = async ({ objects }: Counts, dryRun: boolean, signal: AbortSignal | undefined): Promise<void> => {
    objects.marked = dryRun ? await countUnlinkedObjects(db) : await markUnlinkedObjects(db)
    for await (const { oid, size } of unlinkedObjects()) {
      signal?.throwIfAborted()
      if (!dryRun && !(await removeObject(oid))) continue
      objects.removed += 1
      objects.removedBytes += size
    }
  }

  async function* unlinkedObjects(): AsyncGenerator<UnlinkedRow> {
    for (let after = ''; ; ) {
      const rows = await listUnlinkedObjects(db, objectGraceMs, after, pageRows)
      yield* rows
      if (rows.length < pageRows) return
      after = rows.at(-1)!.oid
    }
  }

  async function* linkers(): AsyncGenerator<LinkingRepository> {
    for (let after = 0; ; ) {
      const rows = await listLinkers(db, unseenGraceMs, after, pageRows)
      yield* rows
      if (rows.length < pageRows) return
      after = rows.at(-1)!.id
    }
  }

  return {
    removeObject,

    async collect({ dryRun = false, force = false, signal } = {}) {
      const counts: Counts = {
        repositories: 0,
        links: { renewed: 0, marked: 0, removed: 0 },
        objects: { marked: 0, removed: 0, removedBytes: 0 },
        failed: [],
      }
      const plans: RepositoryPlan[] = []
      for await (const repository of linkers()) {
        signal?.throwIfAborted()
        counts.repositories += 1
        try {
          const plan = await planFor(repository, force)
          plans.push(plan)
        } catch (error) {
          counts.failed.push({ repoId: repository.id, error })
        }
      }
      if (!force) checkTogether(plans, maxShrink)
      await collectObjects(counts, dryRun, signal)
      for (const plan of plans) {
        signal?.throwIfAborted()
        if (dryRun) {
          counts.links.renewed += plan.renew.length
          counts.links.marked += plan.mark.length
          counts.links.removed += plan.remove.length
          continue
        }
        try {
          await applyPlan(plan, force, counts.links)
        } catch (error) {
          counts.failed.push({ repoId: plan.repository.id, error })
        }
      }
      return counts
    },
  }
}

interface Counts {
  repositories: number
  readonly links: { renewed: number; marked: number; removed: number }
  readonly objects: { marked: number; removed: number; removedBytes: number }
  readonly failed: { readonly repoId: number; readonly error: unknown }[]
}

/** Many repositories that lose few links each are many links. Deleted ones lose theirs on purpose. */
function checkTogether(plans: readonly RepositoryPlan[], limit: ShrinkLimit): void {
  const living = plans.filter(({ repository }) => repository.deleted === 'no')
  const sum = (of: (plan: RepositoryPlan) => number): number => living.reduce((total, plan) => total + of(plan), 0)
  checkShrink(
    'the hub',
    sum(({ mark }) => mark.length),
    sum(({ unmarked }) => unmarked),
    limit,
  )
}

/** The same plan in parts of few links, by oid. */
function* portionsOf({ repository, renew, mark, remove, unmarked }: RepositoryPlan): Generator<RepositoryPlan> {
  for (let at = 0; at < Math.max(renew.length, mark.length, remove.length); at += linksAtOnce) {
    const part = (oids: readonly string[]) => oids.slice(at, at + linksAtOnce)
    yield { repository, renew: part(renew), mark: part(mark), remove: part(remove), unmarked }
  }
}
