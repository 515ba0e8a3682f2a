import type { LfsOid } from '../../lfs/types.js'
import { oidBytes, oidFromBytes } from '../../protocol/oid.js'
import type { Slices } from '../../protocol/ports.js'
import type { Oid } from '../../protocol/types.js'
import type { Database } from '../db/pool.js'
import { listRecentTips } from '../db/ref-log.js'
import type { FindPointers } from '../packs/find-pointers.js'
import type { Packs } from '../packs/packs.js'

export interface LivePointersDependencies {
  readonly db: Database
  readonly packs: Pick<Packs, 'openSnapshot'>
  readonly findPointers: FindPointers
  readonly slices: (signal: AbortSignal) => Slices
  /** What a ref was in this time can be had back, so it is live as well. */
  readonly retentionMs: number
}

/** The large objects that something in a repository points to: its refs as they are, and as they were within the retention time. */
export function createLivePointers(deps: LivePointersDependencies): (repoId: number, signal?: AbortSignal) => Promise<ReadonlySet<LfsOid>> {
  const { db, packs, findPointers, slices, retentionMs } = deps
  return async (repoId, signal = new AbortController().signal) => {
    const view = await packs.openSnapshot(repoId)
    try {
      const tips = new Set<Oid>(view.refs.list.map(({ oid }) => oid))
      for (const oid of await listRecentTips(db, repoId, retentionMs)) tips.add(oidFromBytes(oid))
      // What a purge took out is in the log and nowhere else.
      const wants = [...tips].filter((oid) => view.find(oidBytes(oid), 'read') !== -1)
      return wants.length === 0 ? new Set() : new Set(await findPointers(view, wants, { slices: slices(signal) }))
    } finally {
      view.release()
    }
  }
}
