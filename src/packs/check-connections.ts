import { ProtocolError } from '../../protocol/errors.js'
import { checkGitattributes, checkGitmodules } from '../../protocol/objects/check.js'
import { oidBytes, oidFromBytes } from '../../protocol/oid.js'
import type { ObjectTable } from '../../protocol/pack/object-table.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import { entryAt, type PackView, type Slices } from '../../protocol/ports.js'
import { objectTypeNames, objectTypes, type Oid } from '../../protocol/types.js'
import type { IngestedPack } from './ingest.js'

/** Lookups between two chances for other work. */
const lookupsPerSlice = 256

/**
 * Everything the pack refers to outside itself must be there, be relied on, and be of the type it is referred to as.
 * @throws ProtocolError `missing-object`, `bad-object`
 */
export async function checkExternals({ connections }: IngestedPack, view: PackView, slices: Slices): Promise<void> {
  const { externals, expected } = connections
  for (let i = 0; i < expected.length; i++) {
    const oid = externals.subarray(i * 20, i * 20 + 20)
    const entry = view.find(oid, 'credit')
    if (entry === -1) throw new ProtocolError('missing-object', `missing necessary objects: ${oidFromBytes(oid)} is neither in the pack nor here`)
    const type = view.typeOf(entry)
    if ((expected[i]! & (1 << (type - 1))) === 0) {
      throw new ProtocolError('bad-object', `object ${oidFromBytes(oid)} is a ${objectTypeNames[type]} and is referred to as something else`)
    }
    const pause = i % lookupsPerSlice === 0 ? slices.pause() : undefined
    if (pause) await pause
  }
}

/**
 * What the repository already has under a name must be the same bytes: two objects of one name would be a SHA-1 collision, and the first
 * stays what it is.
 * @throws ProtocolError `bad-object`
 */
export async function checkCollisions(staged: PackView, ordinal: number, view: PackView, pack: IngestedPack, slices: Slices): Promise<void> {
  const { table, objects, addedBases } = pack
  const ours = createObjectReader(staged)
  const theirs = createObjectReader(view)
  const oid = new Uint8Array(20)
  for (let rank = 0; rank < objects - addedBases; rank++) {
    const pause = rank % lookupsPerSlice === 0 ? slices.pause() : undefined
    if (pause) await pause
    table.oidOfRank(rank, oid)
    const known = view.find(oid, 'read')
    if (known === -1) continue
    const same =
      view.typeOf(known) === table.typeOf(rank) &&
      view.sizeOf(known) === table.sizeOf(rank) &&
      Buffer.compare((await ours.read(entryAt(ordinal, rank))).data, (await theirs.read(known)).data) === 0
    if (!same) throw new ProtocolError('bad-object', `object ${oidFromBytes(oid)} is not the one of that name that is here: SHA-1 collision`)
    const afterRead = slices.pause()
    if (afterRead) await afterRead
  }
}

/**
 * Blobs that git acts upon, in the pack or here before, where nobody looked at them as such.
 * @throws ProtocolError `bad-object`
 */
export async function checkSpecialBlobs(staged: PackView, pack: IngestedPack, slices: Slices): Promise<void> {
  const reader = createObjectReader(staged)
  for (const { kind, oid } of pack.connections.special) {
    const entry = staged.find(oid, 'credit')
    if (entry === -1) continue // missing: said before
    if (staged.typeOf(entry) !== objectTypes.blob) throw new ProtocolError('bad-object', `.${kind} is not a file`)
    const { data } = await reader.read(entry)
    try {
      if (kind === 'gitmodules') checkGitmodules(data)
      else checkGitattributes(data)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      throw new ProtocolError(error.code, `blob ${oidFromBytes(oid)}: ${error.message}`, { cause: error })
    }
    const pause = slices.pause()
    if (pause) await pause
  }
}

/** The new values of a push that the pack does not hold: with the pack's own externals, all that the push relies on. Sorted, 20 bytes each. */
export function reliedOn(externals: Uint8Array, table: ObjectTable | undefined, newOids: readonly Oid[]): readonly Uint8Array[] {
  const all = new Map<string, Uint8Array>()
  for (let at = 0; at < externals.length; at += 20) all.set(oidFromBytes(externals, at), externals.subarray(at, at + 20))
  for (const oid of newOids) {
    const bytes = oidBytes(oid)
    if (!table || table.findRow(bytes) === -1) all.set(oid, bytes)
  }
  return [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, bytes]) => bytes)
}
