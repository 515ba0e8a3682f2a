import { maxPointerBytes, parsePointer } from '../../lfs/pointer.js'
import type { LfsOid } from '../../lfs/types.js'
import { enumerateObjects } from '../../protocol/enumerate.js'
import { createObjectReader } from '../../protocol/pack/reader.js'
import type { PackView, WorkOptions } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'

/** Every large object that a pointer names which is reachable from the wants, each once. */
export type FindPointers = (view: PackView, wants: readonly Oid[], options: WorkOptions) => Promise<readonly LfsOid[]>

/** @throws ProtocolError `corrupt` when an object is missing, `cancelled` */
export const findPointers: FindPointers = async (view, wants, options) => {
  const request = { wants, haves: [], thinPack: false, ofsDelta: true, includeTag: false }
  const { blobs } = await enumerateObjects(view, request, options)
  const reader = createObjectReader(view)
  const found = new Set<LfsOid>()
  for (const entry of blobs.view()) {
    if (view.sizeOf(entry) > maxPointerBytes) continue
    const { data } = reader.readNow(entry) ?? (await reader.read(entry))
    const pointer = parsePointer(data)
    if (pointer) found.add(pointer.oid)
    const pause = options.slices.pause()
    if (pause) await pause
  }
  return [...found]
}
