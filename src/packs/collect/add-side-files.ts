import type { Slices } from '../../../protocol/ports.js'
import { oidBytes } from '../../../protocol/oid.js'
import type { Oid } from '../../../protocol/types.js'
import { setSideFiles } from '../../db/packs.js'
import type { Database, Transaction } from '../../db/pool.js'
import { lockRepository, stepRepository } from '../../db/repositories.js'
import { linkBlobs } from '../../db/stored-blobs.js'
import type { Versions } from '../../db/versions.js'
import { lockKept, type Keeper } from '../../kept/keep.js'
import type { BlobStore } from '../../storage/blob-store.js'
import { sidecarKey } from '../../storage/keys.js'
import { namedBlob } from '../named-blob.js'
import { findPair, type PackPair } from '../pack-pair.js'
import type { Packs } from '../packs.js'
import type { Snapshot } from '../snapshot.js'
import type { MakeSideFiles, SideFiles } from './side-files.js'

export interface AddSideFilesDependencies {
  readonly db: Database
  readonly versions: Pick<Versions, 'changing'>
  readonly keeper: Keeper
  readonly store: BlobStore
  readonly packs: Pick<Packs, 'openSnapshot'>
  readonly makeSideFiles: MakeSideFiles
  readonly slices: (signal: AbortSignal) => Slices
  /** Told of what went wrong. Nothing was changed then, and the next collection tries again. */
  readonly onFailed: (repoId: number, error: unknown) => void
}

export interface AddSideFilesOptions {
  /** What branches and tags name, tags peeled, the most important first; what a collection did not see is passed over. */
  readonly tips: readonly Oid[]
  /** Of all that the tips lead to, when the collection has one. */
  readonly commitGraph?: Uint8Array | undefined
  readonly signal: AbortSignal
}

/** Makes what git itself keeps beside packs for the pair that a collection left, unless it is there. Never throws: a repository does without. */
export type AddSideFiles = (repoId: number, options: AddSideFilesOptions) => Promise<void>

const kinds = ['midx', 'bitmap', 'graph'] as const
const maxKeeps = 5
/** Pushes hold the repository's lock for milliseconds. */
const rowLockWaitMs = 10_000

/** See docs/git-storage.md, "What git itself keeps beside packs". */
export function createAddSideFiles(deps: AddSideFilesDependencies): AddSideFiles {
  return async (repoId, options) => {
    try {
      const view = await deps.packs.openSnapshot(repoId)
      try {
        const pair = findPair(view)
        if (pair && !view.packs[pair.meta]!.sideFiles) await addTo(deps, view, pair, options)
      } finally {
        view.release()
      }
    } catch (error) {
      if (!options.signal.aborted) deps.onFailed(repoId, error)
    }
  }
}

async function addTo(
  deps: AddSideFilesDependencies,
  view: Snapshot,
  pair: PackPair,
  { tips, commitGraph, signal }: AddSideFilesOptions,
): Promise<void> {
  const ordinals = [pair.meta, pair.blobs].toSorted((a, b) => a - b)
  const [meta, blobs] = [view.packs[pair.meta]!, view.packs[pair.blobs]!]
  const files = await deps.makeSideFiles(
    view.only(ordinals),
    {
      pair: { meta: ordinals.indexOf(pair.meta), blobs: ordinals.indexOf(pair.blobs) },
      metaSha1: Buffer.from(meta.sha1).toString('hex'),
      blobsSha1: Buffer.from(blobs.sha1).toString('hex'),
      tips: tips.filter((oid) => view.findIn(pair.meta, oidBytes(oid)) !== -1),
      commitGraph,
    },
    { slices: deps.slices(signal) },
  )
  await record(deps, { repoId: view.repoId, meta: meta.id, blobs: blobs.id, files })
}

interface SideFilesRecord {
  readonly repoId: number
  /** Ids of the packs. */
  readonly meta: number
  readonly blobs: number
  readonly files: SideFiles
}

/** Rows, bytes, and then the link. What is not linked in the end goes as all unused bytes do. */
async function record({ db, versions, keeper, store }: AddSideFilesDependencies, made: SideFilesRecord): Promise<void> {
  const content = kinds.map((kind) => namedBlob(store, sidecarKey(made.files[kind].sha256, kind), made.files[kind].bytes))
  for (let keeps = 0; keeps < maxKeeps; keeps++) {
    await keeper.keep(content)
    const kept = await versions.changing({ repoId: made.repoId }, () => db.transaction((tx) => link(tx, made), { lockTimeoutMs: rowLockWaitMs }))
    if (kept) return
  }
}

/** False: the bytes were deleted before they were linked. Where the packs are gone by now there is nothing to link. */
async function link(tx: Transaction, { repoId, meta, blobs, files }: SideFilesRecord): Promise<boolean> {
  const locked = await lockRepository(tx, repoId, null)
  if (!locked || locked.deleted) return true
  const links = kinds.map((kind) => ({ key: sidecarKey(files[kind].sha256, kind), repoId, packId: meta, kind }))
  if (
    !(await lockKept(
      tx,
      links.map(({ key }) => key),
    ))
  )
    return false
  const names = { midx: Buffer.from(files.midx.sha256), bitmap: Buffer.from(files.bitmap.sha256), graph: Buffer.from(files.graph.sha256) }
  if (!(await setSideFiles(tx, { repoId, meta, blobs, files: names, changedVer: locked.packsVer + 1 }))) return true
  await linkBlobs(tx, links)
  await stepRepository(tx, repoId, { refsChanged: false, packsChanged: true, addedBytes: 0 })
  return true
}
