import { createHash } from 'node:crypto'
import { ProtocolError } from '../../protocol/errors.js'
import { packHeaderBytes, trailerBytes } from '../../protocol/pack/entry.js'
import type { PackRequest, WorkOptions } from '../../protocol/ports.js'
import { findPair, type PackPair } from './pack-pair.js'
import { coversPack, readStored } from './stored-answer.js'
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
  if (filter?.blobBytes !== 0 || filter.treeDepth !== Number.POSITIVE_INFINITY) return -1
  return view.packs.findIndex(({ part }, ordinal) => part === 'meta' && coversPack(view, ordinal, request))
}

/**
 * The SHA-1 that ends the join of two packs, by their names, which say what they hold. Remembered once both were read and found to be what they
 * are called: what is read later is not hashed again, and a client notices if it has changed.
 */
const trailers = new Map<string, Uint8Array>()
/** Those that are cloned all the time are fewer. */
const maxTrailers = 10_000

/** One pack of both, their entries as they are stored. A chunk is valid until the next. @throws as `Snapshot.read`, `corrupt` for other bytes */
export async function* readJoinedPacks(view: Snapshot, { meta, blobs }: PackPair, options: WorkOptions): AsyncGenerator<Uint8Array> {
  const packs = [meta, blobs].map((ordinal) => ({ ordinal, pack: view.packs[ordinal]! }))
  const objects = packs.reduce((sum, { pack }) => sum + pack.objects, 0)
  options.onProgress?.({ title: 'Counting objects', done: objects, total: objects })
  const header = Buffer.alloc(packHeaderBytes)
  header.write('PACK', 0, 'latin1')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(objects, 8)
  yield header
  const name = packs.map(({ pack }) => Buffer.from(pack.sha256).toString('base64')).join(' ')
  const known = trailers.get(name)
  const joined = known ? undefined : createHash('sha1').update(header)
  for (const { ordinal, pack } of packs) {
    const own = joined && createHash('sha1')
    let at = 0
    for await (const chunk of readStored(view, ordinal, options)) {
      const whole = chunk.subarray(0, Math.max(0, pack.bytes - trailerBytes - at))
      const entries = whole.subarray(Math.max(0, packHeaderBytes - at))
      at += chunk.length
      own?.update(whole)
      joined?.update(entries)
      if (entries.length > 0) yield entries
    }
    if (own && !own.digest().equals(pack.sha1)) {
      throw new ProtocolError('corrupt', `pack ${Buffer.from(pack.sha256).toString('hex')} is not what its name says`)
    }
  }
  const trailer = known ?? joined!.digest()
  if (!known) {
    for (const oldest of trailers.keys()) {
      if (trailers.size < maxTrailers) break
      trailers.delete(oldest)
    }
    trailers.set(name, trailer)
  }
  yield trailer
}
