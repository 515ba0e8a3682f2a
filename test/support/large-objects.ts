import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseLfsOid, type LfsOid } from '../../lfs/types.js'
import type { Database, Queryable } from '../../src/db/pool.js'
import { sql } from '../../src/db/sql.js'
import { createKeeper } from '../../src/kept/keep.js'
import { createLargeFiles, type LargeFilesOptions, type LargeFilesService } from '../../src/large-files/create-large-files.js'
import type { Upload } from '../../src/large-files/large-files.js'
import { createFilesystemBlobStore, type FilesystemBlobStore } from '../../src/storage/filesystem-blob-store.js'
import { never } from './domain.js'
import { testDatabase } from './postgres.js'

interface Teardown {
  teardown(work: () => unknown): void
}

export interface LargeFilesGround {
  readonly db: Database
  readonly store: FilesystemBlobStore
  readonly largeFiles: LargeFilesService
  /** Over the same database and store, with other options. */
  withOptions(options: Partial<LargeFilesOptions>): LargeFilesService
}

/** Large files over a database of their own and a folder. */
export async function openLargeFiles(t: Teardown): Promise<LargeFilesGround> {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-large-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const db = await testDatabase(t)
  const store = createFilesystemBlobStore({ directory })
  const withOptions = (options: Partial<LargeFilesOptions>): LargeFilesService =>
    createLargeFiles({
      db,
      store,
      staging: store,
      keeper: createKeeper({ db, store, pollMs: 5 }),
      reservableBytes: async () => 2 ** 40,
      ...options,
    })
  return { db, store, withOptions, largeFiles: withOptions({}) }
}

export async function insertOwner(db: Queryable, name: string = randomUUID()): Promise<number> {
  const [row] = await db.query<{ id: number }>(sql`INSERT INTO namespaces (kind, name) VALUES ('user', ${name}) RETURNING id`)
  return row!.id
}

export async function insertRepo(
  db: Queryable,
  ownerId: number,
  { visibility = 'private', gated = null }: { readonly visibility?: 'public' | 'private'; readonly gated?: 'auto' | null } = {},
): Promise<number> {
  const [row] = await db.query<{ id: number }>(sql`
    INSERT INTO repositories (namespace_id, type, name, visibility, gated)
    VALUES (${ownerId}, 'model', ${randomUUID()}, ${visibility}, ${gated}) RETURNING id`)
  return row!.id
}

export const oidOf = (content: string | Buffer): LfsOid => parseLfsOid(createHash('sha256').update(content).digest('hex'))

/** The same bytes in pieces of three; `meanwhile` runs before each, with how many went before. */
export async function* pieces(content: string, meanwhile?: (sent: number) => unknown): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(content)
  for (let at = 0; at < bytes.length; at += 3) {
    await meanwhile?.(at)
    yield bytes.subarray(at, at + 3)
  }
}

/** Says that the content comes, as it is. */
export const uploadOf = (content: string, to: Pick<Upload, 'repoId' | 'actorId'> & Partial<Upload>): Upload => ({
  oid: oidOf(content),
  size: Buffer.byteLength(content),
  signal: never,
  ...to,
})

/** Content nobody else has. */
export const newContent = (): string => `large content ${randomUUID()}`

export async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Buffer[] = []
  for await (const chunk of chunks) all.push(Buffer.from(chunk))
  return Buffer.concat(all).toString()
}

/** Everything that says anything about these bytes. */
export async function tracesOf(db: Queryable, store: FilesystemBlobStore, oid: LfsOid) {
  const [row] = await db.query<{ objects: number; representations: number; links: number; uploads: number; reserved: number; blobs: number }>(sql`
    SELECT
      (SELECT count(*) FROM large_object WHERE sha256 = decode(${oid}, 'hex')) AS objects,
      (SELECT count(*) FROM representation WHERE sha256 = decode(${oid}, 'hex')) AS representations,
      (SELECT count(*) FROM repo_large_object WHERE sha256 = decode(${oid}, 'hex')) AS links,
      (SELECT count(*) FROM lfs_upload WHERE sha256 = decode(${oid}, 'hex')) AS uploads,
      (SELECT COALESCE(sum(reserved_bytes), 0)::bigint FROM lfs_upload WHERE sha256 = decode(${oid}, 'hex')) AS reserved,
      (SELECT count(*) FROM stored_blob WHERE key LIKE '%' || ${oid}) AS blobs`)
  return { ...row!, staged: await keysBelow(store, 'staging/'), stored: await keysBelow(store, `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`) }
}

async function keysBelow(store: FilesystemBlobStore, prefix: string): Promise<number> {
  let keys = 0
  for await (const _ of store.list(prefix)) keys += 1
  return keys
}

/** Time passes for one link. */
export async function ageLink(db: Queryable, repoId: number, oid: LfsOid, minutes: number): Promise<void> {
  await db.execute(sql`
    UPDATE repo_large_object
    SET last_seen = last_seen - ${minutes} * interval '1 minute', unlinked_at = unlinked_at - ${minutes} * interval '1 minute'
    WHERE repo_id = ${repoId} AND sha256 = decode(${oid}, 'hex')`)
}

/** Time passes for one object. */
export async function ageObject(db: Queryable, oid: LfsOid, minutes: number): Promise<void> {
  await db.execute(sql`UPDATE large_object SET unlinked_at = unlinked_at - ${minutes} * interval '1 minute' WHERE sha256 = decode(${oid}, 'hex')`)
}

/** Time passes for uploads of an object, expected and under way. */
export async function ageUploads(db: Queryable, oid: LfsOid, minutes = 24 * 60): Promise<void> {
  await db.execute(sql`UPDATE lfs_upload SET expires_at = expires_at - ${minutes} * interval '1 minute' WHERE sha256 = decode(${oid}, 'hex')`)
}

/** `linked`, `marked`; undefined: no link. */
export async function linkOf(db: Queryable, repoId: number, oid: LfsOid): Promise<'linked' | 'marked' | undefined> {
  const [row] = await db.query<{ marked: boolean }>(sql`
    SELECT unlinked_at IS NOT NULL AS marked FROM repo_large_object WHERE repo_id = ${repoId} AND sha256 = decode(${oid}, 'hex')`)
  return row && (row.marked ? 'marked' : 'linked')
}
