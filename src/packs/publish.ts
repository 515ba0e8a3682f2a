import { insertPack, type NewPack } from '../db/packs.js'
import type { Transaction } from '../db/pool.js'
import { linkBlobs, type BlobLink } from '../db/stored-blobs.js'
import { lockKept, type Keeper } from '../kept/keep.js'
import type { BlobKey, BlobStore, FilePut } from '../storage/blob-store.js'
import { packKey, sidecarKey } from '../storage/keys.js'
import { namedBlob, putNamed } from './named-blob.js'
import type { RecentTables } from './recent-tables.js'
import type { SpooledPack } from './spool.js'
import type { CheckedPack, StoragePack } from './checked-pack.js'

/**
 * Stores the bytes of a checked pack, whole and synced, under rows that keep them. May be called again: what is there stays, unless it has another
 * size and so cannot be what its name says.
 */
export type PublishPack = (pack: CheckedPack, spooled: SpooledPack) => Promise<void>

export interface PublishDependencies {
  readonly store: BlobStore
  readonly files: FilePut
  readonly keeper: Keeper
  readonly recent: RecentTables
}

export function createPublishPack({ store, files, keeper, recent }: PublishDependencies): PublishPack {
  return async (pack, spooled) => {
    if (pack.inline) return // it goes with its row
    const [packAt, idx, rev, tbl] = blobsOf(pack)
    await keeper.keep([
      {
        key: packAt.key,
        bytes: pack.bytes,
        write: () =>
          spooled.moveTo(
            (path) => files.putFile(packAt.key, path, pack.sha256),
            (chunks) => putNamed(store, packAt.key, pack.bytes, chunks),
          ),
      },
      namedBlob(store, idx.key, pack.sidecars.idx),
      namedBlob(store, rev.key, pack.sidecars.rev),
      namedBlob(store, tbl.key, pack.sidecars.tbl),
    ])
    recent.remember(tbl.sha256, pack.sidecars.tbl)
  }
}

/**
 * Locks what a published pack relies on against deletion until the transaction ends. False: something is gone, publish again.
 * @see docs/git-storage.md, "Keeping and deleting a stored blob"
 */
export async function lockPackBlobs(tx: Transaction, ...staged: readonly StoragePack[]): Promise<boolean> {
  return lockKept(
    tx,
    staged.flatMap(({ pack }) => (!pack || pack.inline ? [] : blobsOf(pack).map(({ key }) => key))),
  )
}

export interface PackRecord {
  readonly repoId: number
  readonly updateId: string
  /** Visibility class of the commands that were accepted; 3: garbage. */
  readonly visibility: 0 | 1 | 2 | 3
  readonly state?: NewPack['state']
  readonly part?: NewPack['part']
  /** packs_ver of the repository once this transaction is committed. */
  readonly changedVer: number
}

/** Adds the row of a published pack, and the links to its blobs. False: the repository had it. */
export async function recordPack(tx: Transaction, pack: CheckedPack, record: PackRecord): Promise<boolean> {
  const { repoId, updateId, visibility, state, part, changedVer } = record
  const { sha1, sha256, bytes, objects, source, roots, external, inline, sidecars } = pack
  const [, idxBlob, revBlob, tblBlob] = blobsOf(pack)
  const { packId, inserted } = await insertPack(tx, {
    repoId,
    updateId,
    sha1,
    sha256,
    bytes,
    objects,
    class: visibility,
    source,
    ...(state ? { state } : {}),
    part,
    roots,
    external,
    changedVer,
    stored: inline
      ? { kind: 'inline', pack: inline, idx: sidecars.idx, tbl: sidecars.tbl }
      : { kind: 'blobs', idxSha256: idxBlob.sha256, revSha256: revBlob.sha256, tblSha256: tblBlob.sha256 },
  })
  if (!inline)
    await linkBlobs(
      tx,
      blobsOf(pack).map(({ key, kind }) => ({ key, kind, repoId, packId })),
    )
  return inserted
}

interface PackBlob {
  readonly key: BlobKey
  readonly kind: BlobLink['kind']
  readonly sha256: Uint8Array
}

/** Pack, idx, rev, tbl. A sidecar is named by its own hash. */
function blobsOf({ sha256, sidecars }: CheckedPack): readonly [PackBlob, PackBlob, PackBlob, PackBlob] {
  const sidecar = (kind: 'idx' | 'rev' | 'tbl', number: number): PackBlob => {
    const name = sidecars.names.subarray(number * 32, (number + 1) * 32)
    return { key: sidecarKey(name, kind), kind, sha256: name }
  }
  return [{ key: packKey(sha256), kind: 'pack', sha256 }, sidecar('idx', 0), sidecar('rev', 1), sidecar('tbl', 2)]
}
