import { repack } from '../../../protocol/pack/repack.js'
import type { WorkOptions } from '../../../protocol/ports.js'
import type { Snapshot } from '../snapshot.js'
import { takesOf, type Selection } from './selection.js'

/** One pack of the objects of a snapshot, each once; undefined: of all of them. A chunk is valid until the next. */
export type Repack = (view: Snapshot, selection: Selection | undefined, options: WorkOptions) => AsyncIterable<Uint8Array>

/** On this thread. */
export const repackHere: Repack = (view, selection, options) => repack(view, options, selection && takesOf(view, selection))
