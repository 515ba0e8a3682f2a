import { oidBytes, oidFromBytes } from '../../protocol/oid.js'
import type { PackRequest, WorkOptions } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { Snapshot } from './snapshot.js'

/** Read and sent at a time. */
const chunkBytes = 256 * 1024

/**
 * The pack that is the answer as it stands: everything wanted is in it, all it holds is reachable from what is wanted, and nothing else was
 * asked for. -1: there is none. An object that was smuggled into a pack is a root of it, so the pack is never sent to who did not want it.
 * See docs/git-storage.md, "When a stored pack is the answer".
 */
export function findStoredAnswer(view: Snapshot, request: PackRequest): number {
  return view.packs.findIndex((pack, ordinal) => !pack.external && coversPack(view, ordinal, request))
}

/** Whether all that is wanted is in this pack, and all that is in it is reachable from what is wanted, and nothing else was asked for. */
export function coversPack(view: Snapshot, ordinal: number, { wants, haves, ofsDelta, includeTag, boundary, filter }: PackRequest): boolean {
  const pack = view.packs[ordinal]!
  if (boundary || filter || haves.length > 0 || wants.length === 0 || !ofsDelta || pack.roots === null || pack.class > 1) return false
  if (!wants.every((oid) => view.findIn(ordinal, oidBytes(oid)) !== -1)) return false
  if (includeTag && !holdsItsTags(view, ordinal)) return false
  const wanted = new Set<Oid>(wants)
  const tags = includeTag ? new Set(view.refs.list.flatMap(({ oid, peeled }) => (peeled ? [oid] : []))) : undefined
  return rootsOf(pack.roots).every((oid) => wanted.has(oid) || tags?.has(oid))
}

/** Tags of what is sent go with it: a pack that has the one and not the other is no answer. */
function holdsItsTags(view: Snapshot, ordinal: number): boolean {
  return view.refs.list.every(
    ({ oid, peeled }) => peeled === undefined || view.findIn(ordinal, oidBytes(peeled)) === -1 || view.findIn(ordinal, oidBytes(oid)) !== -1,
  )
}

/** As a pack's row has them. */
export function rootsOf(roots: Uint8Array): Oid[] {
  return Array.from({ length: roots.length / 20 }, (_, i) => oidFromBytes(roots, i * 20))
}

/** A stored pack that is the answer. A chunk is valid until the next. */
export async function* readStoredPack(view: Snapshot, ordinal: number, options: WorkOptions): AsyncGenerator<Uint8Array> {
  const { objects } = view.packs[ordinal]!
  options.onProgress?.({ title: 'Counting objects', done: objects, total: objects })
  yield* readStored(view, ordinal, options)
}

/** A stored pack, from its first byte to its last. A chunk is valid until the next. */
export async function* readStored(view: Snapshot, ordinal: number, { slices }: WorkOptions): AsyncGenerator<Uint8Array> {
  const { bytes } = view.packs[ordinal]!
  const stream = view.streamPack(ordinal, slices.signal)
  if (stream) {
    for await (const chunk of stream) {
      yield chunk
      const pause = slices.pause()
      if (pause) await pause
    }
    return
  }
  for (let at = 0; at < bytes; at += chunkBytes) {
    yield await view.read(ordinal, at, Math.min(bytes, at + chunkBytes))
    const pause = slices.pause()
    if (pause) await pause
  }
}
