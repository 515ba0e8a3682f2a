import { hash } from 'node:crypto'
import { pairBitOrder } from '../../../protocol/bitmap/bit-order.js'
import { buildBitmaps } from '../../../protocol/bitmap/build-bitmaps.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { CommitGraph } from '../../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'
import { collectCommits } from '../../../protocol/graph/commit-rows.js'
import { oidBytes } from '../../../protocol/oid.js'
import { MultiPackIndex } from '../../../protocol/pack/multi-pack-index.js'
import { encodeMultiPackIndex } from '../../../protocol/pack/multi-pack-index-writer.js'
import type { ObjectTable } from '../../../protocol/pack/object-table.js'
import type { WorkOptions } from '../../../protocol/ports.js'
import type { Oid } from '../../../protocol/types.js'
import type { PackPair } from '../pack-pair.js'
import type { PackSetView, Snapshot } from '../snapshot.js'

export interface SideFilesRequest {
  /** All packs of the view. */
  readonly pair: PackPair
  /** What ends the packs, in hex. */
  readonly metaSha1: string
  readonly blobsSha1: string
  /** Objects of the pair; the most important commits first. */
  readonly tips: readonly Oid[]
  /** The commit graph of all that the tips lead to, if there is one. It is of no use when it knows more than the pair has. */
  readonly commitGraph?: Uint8Array | undefined
}

export interface SideFile {
  readonly bytes: Uint8Array
  /** Its name. */
  readonly sha256: Uint8Array
}

/** What git itself keeps beside two packs: index of both, its bitmaps, and the commit graph. */
export interface SideFiles {
  readonly midx: SideFile
  readonly bitmap: SideFile
  readonly graph: SideFile
}

export type MakeSideFiles = (view: Snapshot, request: SideFilesRequest, options: WorkOptions) => Promise<SideFiles>

/** On this thread. @throws ProtocolError `corrupt` when the packs are no closure or share an object, `too-large`, `cancelled` */
export async function makeSideFiles(
  view: PackSetView | Snapshot,
  { pair, metaSha1, blobsSha1, tips, commitGraph }: SideFilesRequest,
  options: WorkOptions,
): Promise<SideFiles> {
  const meta = { ordinal: pair.meta, table: view.tableOf(pair.meta) }
  const blobs = { ordinal: pair.blobs, table: view.tableOf(pair.blobs) }
  const known = commitGraph && CommitGraph.open(commitGraph)
  const isOfPair = known !== undefined && holdsAll(meta.table, known)
  const graphBytes = isOfPair ? commitGraph! : encodeCommitGraph(await collectCommits(view, tips, options, known))
  const graph = isOfPair ? known : CommitGraph.open(graphBytes)
  const rows = tips.map((oid) => graph.findRow(oidBytes(oid))).filter((row) => row !== -1)
  // The first is the preferred pack.
  const midxBytes = encodeMultiPackIndex([
    { name: `pack-${metaSha1}.idx`, table: meta.table },
    { name: `pack-${blobsSha1}.idx`, table: blobs.table },
  ])
  const midx = MultiPackIndex.open(midxBytes)
  if (midx.count !== meta.table.count + blobs.table.count) throw new ProtocolError('corrupt', 'two packs of one collection share an object')
  const order = pairBitOrder(meta, blobs, midx.checksum)
  const bitmapBytes = await buildBitmaps({ view, order, graph, tips: [...new Set(rows)] }, options)
  return { midx: named(midxBytes), bitmap: named(bitmapBytes), graph: named(graphBytes) }
}

function holdsAll(table: ObjectTable, graph: CommitGraph): boolean {
  for (let row = 0; row < graph.count; row++) if (table.findRow(graph.oidOf(row)) === -1) return false
  return true
}

const named = (bytes: Uint8Array): SideFile => ({ bytes, sha256: hash('sha256', bytes, 'buffer') })
