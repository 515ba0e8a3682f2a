import { pairBitOrder } from '../../../protocol/bitmap/bit-order.js'
import { BitmapFile } from '../../../protocol/bitmap/bitmap-file.js'
import type { ReachBitmaps } from '../../../protocol/bitmap/enumerate-by-bitmaps.js'
import { ProtocolError } from '../../../protocol/errors.js'
import type { PackView } from '../../../protocol/ports.js'
import type { ObjectTable } from '../../../protocol/pack/object-table.js'
import { objectTypes } from '../../../protocol/types.js'
import type { PackPair } from '../pack-pair.js'

/** A bitmap file of two packs of a snapshot, as it goes to another thread. */
export interface LoadedBitmaps {
  readonly pair: PackPair
  /** SHA-256 of the file, in hex. */
  readonly name: string
  readonly bytes: Uint8Array
}

export interface TabledView extends PackView {
  tableOf(pack: number): ObjectTable
}

/** Where a file says what its bits are of. */
const checksumAt = { from: 12, to: 32 }

/** Bitmaps of a view. @throws ProtocolError `corrupt` when the file is none, or of other packs */
export function openBitmaps(view: TabledView, { pair, bytes }: LoadedBitmaps, known?: BitmapFile): ReachBitmaps {
  const packAt = (ordinal: number) => ({ ordinal, table: view.tableOf(ordinal) })
  const order = pairBitOrder(packAt(pair.meta), packAt(pair.blobs), bytes.subarray(checksumAt.from, checksumAt.to))
  if (known) return { order, file: known }
  const file = BitmapFile.open(bytes, order)
  for (const commit of file.commits) {
    if (view.typeOf(order.entryOfBit(commit)) !== objectTypes.commit) throw new ProtocolError('corrupt', 'bitmaps are of other packs')
  }
  return { order, file }
}

/** Bitmap files that this thread has open: they take the memory of the files once more. */
export class OpenBitmaps {
  readonly #files = new Map<string, BitmapFile>()

  /** Undefined for undefined. */
  open(view: TabledView, loaded: LoadedBitmaps | undefined): ReachBitmaps | undefined {
    if (!loaded) return undefined
    const bitmaps = openBitmaps(view, loaded, this.#files.get(loaded.name))
    this.#files.delete(loaded.name)
    this.#files.set(loaded.name, bitmaps.file)
    for (const oldest of this.#files.keys()) if (this.#files.size > maxOpen) this.#files.delete(oldest)
    return bitmaps
  }
}

const maxOpen = 4
