import { enumerateBeyond } from '../enumerate.js'
import type { GivenPacks, PackRequest, PackView, WorkOptions } from '../ports.js'
import { writePack } from './writer.js'

/** It is held in memory: what is more has an answer of its own. Bytes. */
const maxBytes = 8 * 1024 * 1024

/**
 * The pack of what an answer has beyond the packs given. Its deltas may lean on what these hold, by name. Undefined: the wants do not lead to all
 * that these hold, or there is too much beside it.
 */
export type PackBeyond = (view: PackView, request: PackRequest, given: GivenPacks, options: WorkOptions) => Promise<Uint8Array | undefined>

/** @throws ProtocolError `corrupt`, `cancelled` */
export const packBeyond: PackBeyond = async (view, request, given, options) => {
  const objects = await enumerateBeyond(view, request, given, options)
  if (!objects) return undefined
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of writePack(view, { ...request, thinPack: true }, objects, options)) {
    bytes += chunk.length
    if (bytes > maxBytes) return undefined
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks)
}
