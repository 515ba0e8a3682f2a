import type { Queryable, Transaction } from './pool.js'
import { tellPurge } from './purges.js'
import { named, sql } from './sql.js'

export const repoTypes = ['model', 'dataset', 'space'] as const
export type RepoType = (typeof repoTypes)[number]
export type Visibility = 'public' | 'private'

/** The repository row as an update sees it, locked. */
export interface LockedRepository {
  readonly refsVer: number
  readonly packsVer: number
  readonly gcEpoch: number
  readonly accessVer: number
  /** access_ver of the actor; undefined when no actor was asked for. */
  readonly actorAccessVer: number | undefined
  /** Full ref name, bytes. */
  readonly headRef: Buffer
  readonly deleted: boolean
  /** The database's clock. */
  readonly now: Date
}

/**
 * Locks one repository against other updates until the transaction ends. NO KEY UPDATE: a full lock would also
 * stop every insert that refers to the row, and deadlock with those that hold what we wait for.
 */
export async function lockRepository(tx: Transaction, repoId: number, actorId: number | null): Promise<LockedRepository | undefined> {
  const [row] = await tx.query<{
    refs_ver: number
    packs_ver: number
    gc_epoch: number
    access_ver: number
    head_ref: Buffer
    deleted: boolean
    now: Date
    actor_access_ver: number | null
  }>(
    named(
      'lock-repository',
      sql`
    SELECT refs_ver, packs_ver, gc_epoch, access_ver, head_ref, deleted_at IS NOT NULL AS deleted, clock_timestamp() AS now,
      (SELECT n.access_ver FROM namespaces n WHERE n.id = ${actorId}::bigint) AS actor_access_ver
    FROM repositories WHERE id = ${repoId} FOR NO KEY UPDATE`,
    ),
  )
  if (!row) return undefined
  return {
    refsVer: row.refs_ver,
    packsVer: row.packs_ver,
    gcEpoch: row.gc_epoch,
    accessVer: row.access_ver,
    actorAccessVer: row.actor_access_ver ?? undefined,
    headRef: row.head_ref,
    deleted: row.deleted,
    now: row.now,
  }
}

/** What an update leaves on the repository row. Versions are raised by one where said. */
export interface RepositoryStep {
  readonly refsChanged: boolean
  readonly packsChanged: boolean
  readonly addedBytes: number
  /** Something may no longer be relied on. */
  readonly epochChanged?: boolean
  /** Something is gone for good: what was kept of it anywhere does not count any more. All hubs that listen are told. */
  readonly purged?: boolean
  readonly headRef?: Buffer | undefined
  /** Makes a repository visible that was inserted hidden. */
  readonly reveal?: boolean
}

/** @throws the database's unique violation of `repositories_name` when `reveal` meets a taken name */
export async function stepRepository(tx: Transaction, repoId: number, step: RepositoryStep): Promise<void> {
  await tx.execute(
    named(
      'step-repository',
      sql`
    UPDATE repositories SET
      refs_ver = refs_ver + ${step.refsChanged ? 1 : 0}::bigint,
      packs_ver = packs_ver + ${step.packsChanged ? 1 : 0}::bigint,
      gc_epoch = gc_epoch + ${step.epochChanged ? 1 : 0}::bigint,
      purge_epoch = purge_epoch + ${step.purged ? 1 : 0}::bigint,
      bytes = bytes + ${step.addedBytes}::bigint,
      head_ref = COALESCE(${step.headRef ?? null}::bytea, head_ref),
      deleted_at = CASE WHEN ${step.reveal ?? false}::boolean THEN NULL ELSE deleted_at END,
      updated_at = now()
    WHERE id = ${repoId}`,
    ),
  )
  if (step.purged) await tellPurge(tx, repoId)
}

/**
 * A new row, hidden (as if deleted) until `stepRepository` reveals it, so that a repository and its first commit appear together.
 * Returns its id.
 */
export async function insertHiddenRepository(
  db: Queryable,
  row: {
    readonly namespaceId: number
    readonly type: RepoType
    readonly name: string
    readonly visibility: Visibility
    readonly sdk?: string | null | undefined
    readonly gated?: 'auto' | 'manual' | null | undefined
    /** Full ref name, bytes. By default main. */
    readonly headRef?: Buffer | undefined
  },
): Promise<number> {
  const [made] = await db.query<{ id: number }>(sql`
    INSERT INTO repositories (namespace_id, type, name, visibility, sdk, gated, head_ref, deleted_at)
    VALUES (
      ${row.namespaceId}, ${row.type}, ${row.name}, ${row.visibility}, ${row.sdk ?? null}, ${row.gated ?? null},
      COALESCE(${row.headRef ?? null}::bytea, 'refs/heads/main'), now())
    RETURNING id`)
  return made!.id
}

/** What of a repository decides whether it may be copied as it was found. */
export interface CopySource {
  readonly accessVer: number
  readonly purgeEpoch: number
  readonly deleted: boolean
}

/** Keeps refs, packs and access of a repository as they are until the transaction ends. To be locked before the copy, which is younger. */
export async function lockCopySource(tx: Transaction, repoId: number): Promise<CopySource | undefined> {
  const [row] = await tx.query<CopySource>(sql`
    SELECT access_ver AS "accessVer", purge_epoch AS "purgeEpoch", deleted_at IS NOT NULL AS deleted
    FROM repositories WHERE id = ${repoId} FOR SHARE`)
  return row
}

/** True when the name is taken: by a living repository, or by the tombstone of one that moved away. */
export async function isNameTaken(db: Queryable, namespaceId: number, type: RepoType, name: string): Promise<boolean> {
  const [row] = await db.query<{ taken: boolean }>(sql`
    SELECT EXISTS (SELECT FROM repositories WHERE namespace_id = ${namespaceId} AND type = ${type} AND lower(name) = lower(${name}) AND deleted_at IS NULL)
      OR EXISTS (SELECT FROM repository_tombstones WHERE namespace_id = ${namespaceId} AND type = ${type} AND name_key = lower(${name})) AS taken`)
  return row!.taken
}

/** Hides a repository. Its rows and bytes stay until the retention time is over. False: it was not there. */
export async function markRepositoryDeleted(tx: Transaction, repoId: number): Promise<boolean> {
  const changed = await tx.execute(sql`
    UPDATE repositories SET deleted_at = now(), access_ver = access_ver + 1 WHERE id = ${repoId} AND deleted_at IS NULL`)
  return changed === 1
}

/** The database's clock. */
export async function databaseTime(db: Queryable): Promise<Date> {
  const [row] = await db.query<{ now: Date }>(named('database-time', sql`SELECT clock_timestamp() AS now`))
  return row!.now
}
