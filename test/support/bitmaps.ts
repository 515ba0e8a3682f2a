import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { indexBitOrder, packBitOrder, type BitOrder } from '../../protocol/bitmap/bit-order.js'
import { buildBitmaps } from '../../protocol/bitmap/build-bitmaps.js'
import { CommitGraph } from '../../protocol/graph/commit-graph.js'
import { encodeCommitGraph } from '../../protocol/graph/commit-graph-writer.js'
import { collectCommits } from '../../protocol/graph/commit-rows.js'
import { MultiPackIndex } from '../../protocol/pack/multi-pack-index.js'
import { encodeMultiPackIndex } from '../../protocol/pack/multi-pack-index-writer.js'
import type { PackView } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { NamedPack } from './many-packs.js'
import { noSlices } from './wire.js'

export const orderOfPack = ({ table, bytes }: NamedPack, ordinal: number): BitOrder => packBitOrder({ ordinal, table }, bytes.subarray(-20))

/** A multi-pack index of packs that are the first of a view, and the order of its bits. */
export function orderOfPacks(packs: readonly NamedPack[]): { readonly file: Buffer; readonly order: BitOrder } {
  const file = encodeMultiPackIndex(packs)
  const midx = MultiPackIndex.open(file)
  const ordered = midx.packNames.map((name) => {
    const ordinal = packs.findIndex((pack) => pack.name === name)
    return { ordinal, table: packs[ordinal]!.table }
  })
  return { file, order: indexBitOrder(midx, ordered) }
}

/** The bitmaps of all that these tips lead to, with the tips preferred. */
export async function bitmapsOf(view: PackView, order: BitOrder, tips: readonly string[]): Promise<Buffer> {
  const graph = CommitGraph.open(encodeCommitGraph(await collectCommits(view, tips as Oid[], { slices: noSlices })))
  const rows = tips.map((tip) => graph.findRow(Buffer.from(tip, 'hex'))).filter((row) => row !== -1)
  return buildBitmaps({ view, order, graph, tips: rows }, { slices: noSlices })
}

/** Puts files beside the packs of a repository, where they are the only ones of their kind. */
export function placeBitmaps(bare: string, files: Readonly<Record<string, Buffer>>): void {
  const folder = join(bare, 'objects', 'pack')
  for (const name of readdirSync(folder)) if (/\.bitmap$|^multi-pack-index/.test(name)) rmSync(join(folder, name))
  for (const [name, file] of Object.entries(files)) writeFileSync(join(folder, name), file)
}
