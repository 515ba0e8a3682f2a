import { stat } from 'node:fs/promises'
import type { Slices } from '../../../protocol/ports.js'
import type { AnyPackRow } from '../../db/all-packs.js'
import type { Database } from '../../db/pool.js'
import { linkBlobs, type BlobLink } from '../../db/stored-blobs.js'
import { HubError } from '../../errors.js'
import { lockKept, type Keeper } from '../../kept/keep.js'
import type { BlobKey, BlobStore } from '../../storage/blob-store.js'
import { readFileChunks } from '../../storage/file-chunks.js'
import { packKey, sidecarKey } from '../../storage/keys.js'
import { oneChunk } from '../../storage/whole-bytes.js'
import { checked } from '../cached-pack.js'
import type { LocalPacks } from '../local-packs.js'
import type { Packs } from '../packs.js'

export interface PutBackDependencies {
  readonly db: Database
  readonly store: BlobStore
  readonly keeper: Keeper
  readonly localPacks: LocalPacks
  readonly packs: Pick<Packs, 'reindex'>
  readonly slices: (signal: AbortSignal) => Slices
}

export type StoredKind = 'pack' | 'idx' | 'rev' | 'tbl'
export type SidecarKind = Exclude<StoredKind, 'pack'>

export interface NamedBlob {
  readonly kind: StoredKind
  readonly key: BlobKey
}

const sidecarKinds = ['idx', 'rev', 'tbl'] as const

/** What a pack has in the store, the pack itself first; nothing of an inline one. */
export function blobsOfRow({ sha256, idxSha256, revSha256, tblSha256 }: AnyPackRow): readonly NamedBlob[] {
  if (!tblSha256) return []
  const named = { idx: idxSha256!, rev: revSha256!, tbl: tblSha256 }
  return [{ kind: 'pack', key: packKey(sha256) }, ...sidecarKinds.map((kind) => ({ kind, key: sidecarKey(named[kind], kind) }))]
}

/**
 * Whether a file that may be the pack lies in this hub's cache. Only a look: what is not there would be fetched from where it is broken, and others
 * would leave for it.
 */
export async function isCached({ localPacks }: Pick<PutBackDependencies, 'localPacks'>, { sha256, bytes }: AnyPackRow): Promise<boolean> {
  return localPacks.leasing !== undefined && (await stat(localPacks.pathOf(sha256)).catch(() => undefined))?.size === bytes
}

/**
 * Stores a pack again out of this hub's cache, hashed on the way. False: it is not there, whole.
 * @throws whatever store and database throw; the signal's reason
 */
export async function putBackPack(
  { db, store, keeper, localPacks }: PutBackDependencies,
  repoId: number,
  row: AnyPackRow,
  signal: AbortSignal,
): Promise<boolean> {
  const { sha256, bytes } = row
  const path = localPacks.pathOf(sha256)
  if (!(await isCached({ localPacks }, row))) return false
  const lease = await localPacks.leasing!.lease([{ sha256, bytes }], signal).catch((error: unknown) => {
    if (error instanceof HubError && (error.code === 'corrupt' || error.code === 'storage-full')) return undefined
    throw error
  })
  if (!lease) return false
  try {
    const key = packKey(sha256)
    const write = async (): Promise<void> => {
      const chunks = checked({ sha256, bytes }, readFileChunks(path, { from: 0, to: bytes }, { name: key, signal }))
      await store.put(key, chunks, { bytes, sha256, signal })
    }
    await keeper.keep([{ key, bytes, write }])
    await linkAgain(db, repoId, row, [{ kind: 'pack', key }])
    return true
  } finally {
    lease.release()
  }
}

/**
 * Makes these sidecars of a pack anew and stores them. The pack is read and hashed for it.
 * @throws HubError `corrupt` when the pack is not what its name says, or what is made has another name than the row says; as `Packs.reindex`
 */
export async function putBackSidecars(
  { db, store, keeper, packs, slices }: PutBackDependencies,
  repoId: number,
  row: AnyPackRow,
  wanted: readonly NamedBlob[],
  signal: AbortSignal,
): Promise<void> {
  const { sha256, bytes } = row
  const chunks = await store.open(packKey(sha256), { signal })
  const made = await packs.reindex({ sha256, bytes }, chunks, { slices: slices(signal), signal })
  const blobs = wanted.map(({ kind, key }) => {
    const number = sidecarKinds.indexOf(kind as SidecarKind)
    if (sidecarKey(made.names.subarray(number * 32, (number + 1) * 32), kind as SidecarKind) !== key)
      throw new HubError('corrupt', `the .${kind} made anew is not ${key}`)
    const content = made[kind as SidecarKind]
    return { key, bytes: content.length, write: async () => void (await store.put(key, oneChunk(content), { bytes: content.length })) }
  })
  await keeper.keep(blobs)
  await linkAgain(db, repoId, row, wanted)
}

/** The bytes were kept just now; says that the pack needs them, in case that was lost as well. */
export async function linkAgain(db: Database, repoId: number, row: AnyPackRow, blobs: readonly NamedBlob[]): Promise<void> {
  const links = blobs.map(({ kind, key }): BlobLink => ({ key, kind, repoId, packId: row.id }))
  const keys = blobs.map(({ key }) => key)
  const linked = await db.transaction(async (tx) => {
    if (!(await lockKept(tx, keys))) return false
    await linkBlobs(tx, links)
    return true
  })
  if (!linked) throw new HubError('busy', `${keys[0]} was deleted just after it was stored, try again`)
}
