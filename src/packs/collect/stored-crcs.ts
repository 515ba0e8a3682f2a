import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { ProtocolError } from '../../../protocol/errors.js'
import { readIndexCrcs } from '../../../protocol/pack/index-file.js'
import type { StoredCrcs } from '../../../protocol/pack/pack-record.js'
import type { Slices } from '../../../protocol/ports.js'
import { listIndexNames } from '../../db/packs.js'
import type { Database } from '../../db/pool.js'
import type { BlobStore } from '../../storage/blob-store.js'
import { readSideFile, unlessCorrupt } from '../read-side-file.js'
import type { Snapshot } from '../snapshot.js'
import { readStored } from '../stored-answer.js'

/**
 * The CRC-32 of every entry of some packs of a snapshot, as they were when the packs came: from the `.idx`, or from a pack that hashes to its name.
 * @throws ProtocolError `corrupt` when neither is to be had
 */
export async function readStoredCrcs(
  { db, store }: { readonly db: Database; readonly store: BlobStore },
  view: Snapshot,
  ordinals: readonly number[],
  slices: Slices,
): Promise<StoredCrcs> {
  const names = await listIndexNames(
    db,
    ordinals.map((ordinal) => view.packs[ordinal]!.id),
  )
  const crcs: (Uint32Array | undefined)[] = Array.from({ length: view.packCount }, () => undefined)
  for (const ordinal of ordinals) {
    const sha256 = names.get(view.packs[ordinal]!.id)
    crcs[ordinal] = (sha256 && (await crcsOfIndex(store, view, ordinal, sha256))) ?? (await crcsOfPack(view, ordinal, slices))
    await slices.pause()
  }
  return crcs
}

/** Undefined: the file is missing or wrong. */
const crcsOfIndex = (store: BlobStore, view: Snapshot, ordinal: number, sha256: Uint8Array): Promise<Uint32Array | undefined> =>
  unlessCorrupt(async () =>
    readIndexCrcs(await readSideFile(store, { kind: 'idx', sha256, what: `the index of pack ${ordinal}` }), view.tableOf(ordinal)),
  )

/** All of the pack is read, and has to be what its name says. */
async function crcsOfPack(view: Snapshot, ordinal: number, slices: Slices): Promise<Uint32Array> {
  const { sha256 } = view.packs[ordinal]!
  const table = view.tableOf(ordinal)
  const crcs = new Uint32Array(new SharedArrayBuffer(table.count * 4))
  const hash = createHash('sha256')
  let rank = 0
  let at = 0
  for await (const chunk of readStored(view, ordinal, { slices })) {
    const end = at + chunk.length
    hash.update(chunk)
    for (; rank < table.count && table.offsetOf(rank) < end; rank++) {
      const part = chunk.subarray(Math.max(0, table.offsetOf(rank) - at), table.endOf(rank) - at)
      crcs[rank] = crc32(part, crcs[rank]!)
      if (table.endOf(rank) > end) break
    }
    at = end
  }
  const name = Buffer.from(sha256)
  if (!hash.digest().equals(name)) throw new ProtocolError('corrupt', `pack ${name.toString('hex')} is not stored as it was once written down`)
  return crcs
}
