import { createHash } from 'node:crypto'
import { encodeIndexFile } from '../../protocol/pack/index-file.js'
import { encodeObjectTable } from '../../protocol/pack/object-table.js'
import type { PackIndex } from '../../protocol/pack/pack-index.js'
import { encodeReverseIndex } from '../../protocol/pack/reverse-index.js'
import type { Slices } from '../../protocol/ports.js'

/** What belongs to a pack, made from its index. */
export interface Sidecars {
  readonly idx: Uint8Array
  readonly rev: Uint8Array
  /** In shared memory. */
  readonly tbl: Uint8Array
  /** SHA-256 of idx, rev and tbl, one behind the other: their names in a store. */
  readonly names: Uint8Array
}

/** The sidecars of a pack whose bytes hash to `sha256`. @throws ProtocolError `too-large`, `cancelled` */
export async function makeSidecars(index: PackIndex, sha256: Uint8Array, slices: Slices): Promise<Sidecars> {
  const idx = encodeIndexFile(index)
  const rev = encodeReverseIndex(index)
  await slices.pause()
  const tbl = encodeObjectTable(index, sha256)
  await slices.pause()
  const names = Buffer.concat([idx, rev, tbl].map((bytes) => createHash('sha256').update(bytes).digest()))
  return { idx, rev, tbl, names }
}
