import type { PackView } from '../../protocol/ports.js'
import type { RefName } from '../../protocol/types.js'

/** A repository with nothing in it. */
export const emptyView: PackView = {
  refs: { head: 'refs/heads/main' as RefName, list: [], count: 0, blocks: [], find: () => undefined },
  packCount: 0,
  objectsIn: () => 0,
  find: () => -1,
  oidOf: () => undefined,
  typeOf: () => 1,
  sizeOf: () => 0,
  offsetOf: () => 0,
  endOf: () => 0,
  baseOf: () => -1,
  isRefDelta: () => false,
  read: async () => new Uint8Array(),
  release: () => undefined,
}
