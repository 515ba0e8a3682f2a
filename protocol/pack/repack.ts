import { EntryList } from '../entry-list.js'
import { EntryMarks } from '../entry-marks.js'
import type { ObjectSet } from '../object-set.js'
import { objectBits } from '../object-bits.js'
import { entryAt, type Entry, type PackView, type WorkOptions } from '../ports.js'
import { objectTypes } from '../types.js'
import type { PackRecord } from './pack-record.js'
import { writePack } from './writer.js'

/** Which entries go into the new pack: of an object of which there are copies one at most, that by which its name is found. */
export type Takes = (entry: Entry) => boolean

/** All objects. */
function takesAll(view: PackView): Takes {
  const oid = new Uint8Array(20)
  return (entry) => {
    view.oidOf(entry, oid)
    return view.find(oid, 'read') === entry
  }
}

/** A base this far down is left out of new chains: a copy in another pack may stand deeper than the one a delta was made against. */
const maxChain = 100

/**
 * One pack of the objects of a view, each once by name, however many of its packs hold it. Entries are copied as they are stored, compressed
 * bytes and deltas alike; what leans on an object that is not taken, or on too long a chain, is written whole. With `record` every entry is
 * checked against what is known of it, and the new pack's index is known at the end.
 * @throws ProtocolError `corrupt`, `cancelled`
 */
export async function* repack(view: PackView, options: WorkOptions, takes: Takes = takesAll(view), record?: PackRecord): AsyncGenerator<Uint8Array> {
  yield* writePack(view, { thinPack: false, ofsDelta: true, maxChain }, await listObjects(view, options, takes), options, record)
}

async function listObjects(view: PackView, { slices }: WorkOptions, takes: Takes): Promise<ObjectSet> {
  const marks = new EntryMarks(view)
  const [commits, trees, blobs, tags] = Array.from({ length: 4 }, () => new EntryList()) as [EntryList, EntryList, EntryList, EntryList]
  const listOf = { [objectTypes.commit]: commits, [objectTypes.tree]: trees, [objectTypes.blob]: blobs, [objectTypes.tag]: tags }
  let count = 0
  for (let pack = 0; pack < view.packCount; pack++) {
    const objects = view.objectsIn(pack)
    for (let rank = 0; rank < objects; rank++) {
      const entry = entryAt(pack, rank)
      if (takes(entry)) {
        marks.add(entry, objectBits.included)
        listOf[view.typeOf(entry)].push(entry)
        count += 1
      }
      if ((rank & 1023) === 0) await slices.pause()
    }
  }
  return { count, commits, tags, trees, blobs, marks, find: (name) => view.find(name, 'read') }
}
