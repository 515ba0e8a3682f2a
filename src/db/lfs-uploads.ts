import type { Queryable, Transaction } from './pool.js'
import { allSha256Bytes, sha256Bytes } from './sha256-bytes.js'
import { named, sql } from './sql.js'
import { elseKept } from './stored-blobs.js'

/*
 * `lfs_upload`: what is to come, and what is coming. A row without a key is a reservation; one with a key names bytes that may be in the
 * store, and is there before the first of them. Both hold the room that they need until they expire.
 */

export interface UploadSubject {
  readonly repoId: number
  readonly actorId: number
  /** 64 hex digits. */
  readonly oid: string
  /** Bytes. */
  readonly size: number
}

const inMs = (ms: number) => sql`now() + ${ms}::float8 * interval '1 millisecond'`

/** Any number nobody else uses: 'lfs' in ASCII. */
const roomLock = 0x6c6673

/** One transaction at a time may ask for room, or two would be given the same. */
export async function lockRoom(tx: Transaction): Promise<void> {
  await tx.query(sql`SELECT pg_advisory_xact_lock(${roomLock}::bigint)`)
}

/** Whether more is reserved than `maxBytes`. Sums are not numbers here: reservations of 2^53 bytes can be asked for. */
export async function isRoomExceeded(tx: Transaction, maxBytes: number): Promise<boolean> {
  const [row] = await tx.query<{ exceeded: boolean }>(sql`
    SELECT COALESCE(sum(reserved_bytes), 0) > ${String(maxBytes)}::numeric AS exceeded FROM lfs_upload WHERE expires_at > now()`)
  return row!.exceeded
}

/** A reservation for each object, by `newIds` where there is none yet. One that is there lives on for so long, and stays as large as it is. */
export async function insertReservations(
  tx: Transaction,
  { repoId, actorId }: Pick<UploadSubject, 'repoId' | 'actorId'>,
  objects: readonly Pick<UploadSubject, 'oid' | 'size'>[],
  newIds: readonly string[],
  lifetimeMs: number,
): Promise<{ readonly id: string; readonly oid: string }[]> {
  return tx.query<{ id: string; oid: string }>(sql`
    INSERT INTO lfs_upload (id, repo_id, actor_id, sha256, size, reserved_bytes, expires_at)
    SELECT w.id, ${repoId}, ${actorId}, w.sha256, w.size, w.size, ${inMs(lifetimeMs)}
    FROM unnest(${newIds}::uuid[], ${allSha256Bytes(objects.map(({ oid }) => oid))}::bytea[], ${objects.map(({ size }) => size)}::bigint[]) AS w (id, sha256, size)
    ORDER BY w.sha256
    ON CONFLICT (repo_id, actor_id, sha256, size) WHERE key IS NULL
      DO UPDATE SET expires_at = GREATEST(lfs_upload.expires_at, EXCLUDED.expires_at)
    RETURNING id, encode(sha256, 'hex') AS oid`)
}

export interface Reception extends UploadSubject {
  readonly id: string
  /** Where the bytes go. */
  readonly key: string
  /** How long the row stays when nobody renews it. */
  readonly leaseMs: number
}

/**
 * Says that bytes come, in the room of a reservation. `begun` is false: there is none such, or its room is in use. `kept` tells whether the
 * blob they will be has a row that keeps it now, as by `keepBlobs`: small uploads need no second transaction for that.
 */
export async function beginReserved(
  db: Queryable,
  reservationId: string,
  { id, repoId, actorId, oid, size, key, leaseMs }: Reception,
  finalKey: string,
): Promise<{ readonly begun: boolean; readonly kept: boolean }> {
  const [row] = await db.query<{ begun: boolean; kept: boolean }>(
    named(
      'begin-reserved',
      sql`
    WITH kept AS (
      INSERT INTO stored_blob (key, bytes) VALUES (${finalKey}, ${size}::bigint)
      ${elseKept}
    ), reservation AS (
      UPDATE lfs_upload SET reserved_bytes = 0
      WHERE id = ${reservationId}::uuid AND key IS NULL AND repo_id = ${repoId} AND sha256 = ${sha256Bytes(oid)} AND size = ${size}
        AND reserved_bytes = size AND expires_at > now()
      RETURNING id
    ), reception AS (
      INSERT INTO lfs_upload (id, repo_id, actor_id, sha256, size, key, reserved_bytes, expires_at)
      SELECT ${id}::uuid, ${repoId}::bigint, ${actorId}::bigint, ${sha256Bytes(oid)}::bytea, ${size}::bigint, ${key}, ${size}::bigint, ${inMs(leaseMs)}
      FROM reservation RETURNING id
    )
    SELECT EXISTS (SELECT FROM reception) AS begun, EXISTS (SELECT FROM kept) AS kept`,
    ),
  )
  return row!
}

/** Says that bytes come, in room of their own. */
export async function beginUnreserved(tx: Transaction, { id, repoId, actorId, oid, size, key, leaseMs }: Reception): Promise<void> {
  await tx.execute(sql`
    INSERT INTO lfs_upload (id, repo_id, actor_id, sha256, size, key, reserved_bytes, expires_at)
    VALUES (${id}::uuid, ${repoId}, ${actorId}, ${sha256Bytes(oid)}, ${size}, ${key}, ${size}, ${inMs(leaseMs)})`)
}

/** The bytes are still coming. False: the row has gone. */
export async function renewReception(db: Queryable, id: string, leaseMs: number): Promise<boolean> {
  return (await db.execute(sql`UPDATE lfs_upload SET expires_at = GREATEST(expires_at, ${inMs(leaseMs)}) WHERE id = ${id}::uuid`)) === 1
}

/** The bytes did not come, and none are left; a reservation that made room for them has it again. */
export async function undoReception(tx: Transaction, id: string, reservationId: string | undefined): Promise<void> {
  if (reservationId !== undefined)
    await tx.execute(sql`UPDATE lfs_upload SET reserved_bytes = size WHERE id = ${reservationId}::uuid AND key IS NULL`)
  await tx.execute(sql`DELETE FROM lfs_upload WHERE id = ${id}::uuid`)
}

/** The bytes came: neither their row is needed any more nor the reservation for them. */
export async function endReception(tx: Transaction, { id, repoId, oid }: Reception, reservationId: string | undefined): Promise<void> {
  await tx.execute(
    named(
      'end-reception',
      sql`
    DELETE FROM lfs_upload WHERE id IN (
      SELECT id FROM lfs_upload
      WHERE id = ${id}::uuid OR (id = ${reservationId ?? null}::uuid AND key IS NULL AND repo_id = ${repoId} AND sha256 = ${sha256Bytes(oid)})
      ORDER BY id FOR UPDATE)`,
    ),
  )
}

export interface ExpiredUpload {
  readonly id: string
  readonly key: string | null
  readonly reservedBytes: number
}

/** One page of what has expired: ids after `after`, in order. */
export async function listExpiredUploads(db: Queryable, after: string, limit: number): Promise<ExpiredUpload[]> {
  return db.query<ExpiredUpload>(sql`
    SELECT id, key, reserved_bytes AS "reservedBytes" FROM lfs_upload
    WHERE expires_at <= now() AND id > ${after}::uuid ORDER BY id LIMIT ${limit}`)
}

/** Removes it unless it was renewed meanwhile. */
export async function removeExpiredUpload(db: Queryable, id: string): Promise<boolean> {
  return (await db.execute(sql`DELETE FROM lfs_upload WHERE id = ${id}::uuid AND expires_at <= now()`)) === 1
}

/** Those of the staging keys that a row names: as its key, or by its own id, under which a client puts bytes itself. */
export async function findStagingKeys(db: Queryable, keys: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ key: string }>(sql`
    SELECT k.key FROM unnest(${keys}::text[]) AS k (key)
    WHERE EXISTS (SELECT FROM lfs_upload u WHERE u.key = k.key) OR EXISTS (SELECT FROM lfs_upload u WHERE 'staging/' || u.id = k.key)`)
  return rows.map(({ key }) => key)
}
