import { createHash } from 'node:crypto'
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

/** One pack of both, their entries as they are stored. A chunk is valid until the next. @throws as `Snapshot.read` */
export async function* readJoinedPacks(view: Snapshot, { meta, blobs }: PackPair, options: WorkOptions): AsyncGenerator<Uint8Array> {
  const objects = view.packs[meta]!.objects + view.packs[blobs]!.objects
  options.onProgress?.({ title: 'Counting objects', done: objects, total: objects })
  const header = Buffer.alloc(packHeaderBytes)
  header.write('PACK', 0, 'latin1')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(objects, 8)
  const hash = createHash('sha1').update(header)
  yield header
  for (const ordinal of [meta, blobs]) {
    for await (const chunk of entriesOf(readStored(view, ordinal, options), view.packs[ordinal]!.bytes)) {
      hash.update(chunk)
      yield chunk
    }
  }
  yield hash.digest()
}

/** A pack without its header and its trailer. */
async function* entriesOf(chunks: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let at = 0
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, packHeaderBytes - at), Math.max(0, bytes - trailerBytes - at))
    at += chunk.length
    if (part.length > 0) yield part
  }
}
