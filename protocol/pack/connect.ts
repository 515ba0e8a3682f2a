import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import { objectTypeNames, objectTypes, type ObjectType } from '../types.js'
import type { PackIndex } from './pack-index.js'
import type { ReferenceSet } from './reference-set.js'
import { compareOids, gatherOids, sortOids } from './sort-oids.js'
import { TreeDepths } from './tree-depths.js'

/** How a pack hangs together, and what it hangs on. */
export interface Connections {
  /** Sorted oids of pack objects that nothing in the pack refers to, 20 bytes each; null above 20,000. Bases added to a thin pack are none. */
  readonly roots: Uint8Array | null
  /** Sorted distinct oids that are referred to and not in the pack, 20 bytes each; bases added to a thin pack are among them. */
  readonly externals: Uint8Array
  /** One mask an external, of the types it may have: 1 commit, 2 tree, 4 blob, 8 tag. */
  readonly expected: Uint8Array
  /** Distinct blobs, in the pack or external, whose content git acts upon. */
  readonly special: readonly SpecialBlob[]
}

export interface SpecialBlob {
  readonly kind: 'gitmodules' | 'gitattributes'
  /** 20 bytes. */
  readonly oid: Uint8Array
}

export const anyType = 15
/** A pack with more roots is never an answer as it stands. */
export const maxRoots = 20_000

/**
 * Matches what the objects of a pack refer to with the objects there are. The last `addedBases` ranks complete a thin pack.
 * @throws ProtocolError `bad-object` when an object is not of the type it is referred to as, `too-large` when trees lie too deep
 */
export function connectReferences(
  index: PackIndex,
  references: ReferenceSet,
  addedBases: number,
): Pick<Connections, 'roots' | 'externals' | 'expected'> {
  const find = rowFinder(index)
  const own = index.count - addedBases
  const referredTo = new Uint8Array(index.count)
  const absent: number[] = []
  const depths = TreeDepths.of(index)
  const baseMasks = new Uint8Array(addedBases).fill(anyType)
  for (let number = 0; number < references.count; number++) {
    const mask = references.maskOf(number)
    const oid = references.oidOf(number)
    if (mask === 0) throw new ProtocolError('bad-object', `object ${oidFromBytes(oid)} is referred to as two different types`)
    const row = find(oid)
    if (row === -1) {
      absent.push(number)
      continue
    }
    const rank = index.rankOfRow[row]!
    const type = (index.types[rank]! & 7) as ObjectType
    if ((mask & (1 << (type - 1))) === 0) {
      throw new ProtocolError('bad-object', `object ${oidFromBytes(oid)} is a ${objectTypeNames[type]} and is referred to as a ${namesOf(mask)}`)
    }
    referredTo[rank] = 1
    if (depths && type === objectTypes.tree) depths.put(rank, references.fromOf(number))
    if (rank >= own) baseMasks[rank - own] = mask
  }
  depths?.check()

  const found = new Uint8Array((absent.length + addedBases) * 20)
  const masks = new Uint8Array(absent.length + addedBases)
  absent.forEach((number, i) => {
    found.set(references.oidOf(number), i * 20)
    masks[i] = references.maskOf(number)
  })
  found.set(index.oids.subarray(own * 20, index.count * 20), absent.length * 20)
  masks.set(baseMasks, absent.length)
  const order = sortOids(found, masks.length)
  return { roots: rootsOf(index, referredTo, own), externals: gatherOids(found, order), expected: Uint8Array.from(order, (i) => masks[i]!) }
}

function rootsOf(index: PackIndex, referredTo: Uint8Array, own: number): Uint8Array | null {
  let count = 0
  for (let rank = 0; rank < own; rank++) if (referredTo[rank] === 0) count += 1
  if (count > maxRoots) return null
  const ranks = new Uint32Array(count)
  let filled = 0
  for (let row = 0; row < index.count; row++) {
    const rank = index.rankOfRow[row]!
    if (rank < own && referredTo[rank] === 0) ranks[filled++] = rank
  }
  return gatherOids(index.oids, ranks)
}

/** Row of an oid, or -1. */
function rowFinder({ count, oids, rankOfRow }: PackIndex): (oid: Uint8Array) => number {
  const firstRow = new Uint32Array(257)
  for (let rank = 0; rank < count; rank++) firstRow[oids[rank * 20]! + 1]!++
  for (let byte = 0; byte < 256; byte++) firstRow[byte + 1]! += firstRow[byte]!
  return (oid) => {
    let low = firstRow[oid[0]!]!
    let high = firstRow[oid[0]! + 1]! - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const order = compareOids(oids, rankOfRow[middle]! * 20, oid, 0)
      if (order === 0) return middle
      if (order < 0) low = middle + 1
      else high = middle - 1
    }
    return -1
  }
}

function namesOf(mask: number): string {
  const types = ([1, 2, 3, 4] as const).filter((type) => mask & (1 << (type - 1)))
  return types.map((type) => objectTypeNames[type]).join(' or ')
}
