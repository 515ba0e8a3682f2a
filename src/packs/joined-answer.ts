import { createHash } from 'node:crypto'
import { ProtocolError } from '../../protocol/errors.js'
import { encodePackHeader, packHeaderBytes, trailerBytes } from '../../protocol/pack/entry.js'
import type { GivenPacks, ObjectFilter, PackRequest, WorkOptions } from '../../protocol/ports.js'
import { findPair, type PackPair } from './pack-pair.js'
import { coversPack, readStored, rootsOf } from './stored-answer.js'
import type { Snapshot } from './snapshot.js'

/**
 * The two packs of a collection that together are the answer: what is wanted is all that the first holds is reachable from, and the second
 * holds the blobs of the first and nothing else. No object is in both. Undefined: there are none.
 * See docs/git-storage.md, "When a stored pack is the answer".
 */
export function findJoinedAnswer(view: Snapshot, request: PackRequest): PackPair | undefined {
  const pair = findPair(view)
  return pair && coversPack(view, pair.meta, request) ? pair : undefined
}

/** The pack of a collection that is the answer to who wants all but the blobs; -1: there is none. */
export function findBlobless(view: Snapshot, { filter, ...request }: PackRequest): number {
  if (!isBlobless(filter)) return -1
  return view.packs.findIndex(({ part }, ordinal) => part === 'meta' && coversPack(view, ordinal, request))
}

/** Who leaves out the blobs, and nothing else. */
const isBlobless = (filter: ObjectFilter | undefined): boolean => filter?.blobBytes === 0 && filter.treeDepth === Number.POSITIVE_INFINITY

/**
 * Which packs of a collection a clone could have as they stand, if the wants lead to all they hold: both, or the first alone for who wants no blobs.
 * Undefined: none, or it is no such clone.
 */
export function findGiven(view: Snapshot, { haves, boundary, filter, ofsDelta, wants }: PackRequest): GivenPacks | undefined {
  const blobless = isBlobless(filter)
  if (boundary || haves.length > 0 || !ofsDelta || wants.length === 0 || (filter && !blobless)) return undefined
  const pair = findPair(view)
  const roots = pair && view.packs[pair.meta]!.roots
  return pair && roots ? { packs: blobless ? [pair.meta] : [pair.meta, pair.blobs], roots: rootsOf(roots) } : undefined
}

/**
 * The SHA-1 that ends the join of packs, by their names, which say what they hold. Remembered once all were read and found to be what they are
 * called: what is read later is not hashed again, and a client notices if it has changed.
 */
const trailers = new Map<string, Uint8Array>()
/** Those that are cloned all the time are fewer. */
const maxTrailers = 10_000

/** A part of a join: a whole pack, from its first byte on. */
interface Part {
  readonly name: string
  readonly bytes: number
  readonly objects: number
  readonly sha1: Uint8Array
  read(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

/**
 * One pack of several in which no object is twice, their entries as they are stored; `beyond`: one in memory, behind the stored ones, which may lean
 * on them by name. A chunk is valid until the next.
 * @throws as `Snapshot.read`, `corrupt` for other bytes
 */
export async function* readJoinedPacks(
  view: Snapshot,
  packs: readonly number[],
  options: WorkOptions,
  beyond?: Uint8Array,
): AsyncGenerator<Uint8Array> {
  const parts = packs.map((ordinal) => storedPart(view, ordinal, options))
  if (beyond) parts.push(partInMemory(beyond))
  const objects = parts.reduce((sum, part) => sum + part.objects, 0)
  options.onProgress?.({ title: 'Counting objects', done: objects, total: objects })
  const header = encodePackHeader(objects)
  yield header
  const name = parts.map((part) => part.name).join(' ')
  const known = trailers.get(name)
  const joined = known ? undefined : createHash('sha1').update(header)
  for (const part of parts) {
    const own = joined && createHash('sha1')
    let at = 0
    for await (const chunk of part.read()) {
      const whole = chunk.subarray(0, Math.max(0, part.bytes - trailerBytes - at))
      const entries = whole.subarray(Math.max(0, packHeaderBytes - at))
      at += chunk.length
      own?.update(whole)
      joined?.update(entries)
      if (entries.length > 0) yield entries
    }
    if (own && !own.digest().equals(part.sha1)) throw new ProtocolError('corrupt', `${part.name} is not what its name says`)
  }
  const trailer = known ?? joined!.digest()
  if (!known) remember(name, trailer)
  yield trailer
}

function remember(name: string, trailer: Uint8Array): void {
  trailers.set(name, trailer)
  const [oldest] = trailers.keys()
  if (trailers.size > maxTrailers) trailers.delete(oldest!)
}

function storedPart(view: Snapshot, ordinal: number, options: WorkOptions): Part {
  const { sha256, bytes, objects, sha1 } = view.packs[ordinal]!
  return { name: `pack ${Buffer.from(sha256).toString('hex')}`, bytes, objects, sha1, read: () => readStored(view, ordinal, options) }
}

function partInMemory(pack: Uint8Array): Part {
  const view = Buffer.from(pack.buffer, pack.byteOffset, pack.length)
  const sha1 = view.subarray(-trailerBytes)
  return { name: `and ${sha1.toString('hex')}`, bytes: pack.length, objects: view.readUInt32BE(8), sha1, read: () => [pack] }
}
