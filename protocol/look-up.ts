import { oidBytes } from './oid.js'
import type { Entry, PackView, Slices } from './ports.js'
import type { Oid } from './types.js'

/** Objects looked up between two chances for other work. */
const perSlice = 500

/** Shows each oid with its entry, garbage too, in their order; -1: it is not here. @throws ProtocolError `cancelled` */
export async function lookUp(view: PackView, oids: readonly Oid[], slices: Slices, visit: (oid: Oid, entry: Entry) => void): Promise<void> {
  for (const [i, oid] of oids.entries()) {
    visit(oid, view.find(oidBytes(oid), 'read'))
    const pause = i % perSlice === 0 ? slices.pause() : undefined
    if (pause) await pause
  }
}
