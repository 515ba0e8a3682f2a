import type { AnswerPack, Reaches } from '../../../protocol/ports.js'
import { ObjectTable } from '../../../protocol/pack/object-table.js'
import type { CheckPack } from '../check-pack.js'
import type { Snapshot } from '../snapshot.js'
import type { Spool } from '../spool.js'
import type { PackWorkers } from './pool.js'

/** The same work as on the main thread, done in others. The views must be snapshots. */
export interface PackJobs {
  readonly check: CheckPack
  readonly answer: AnswerPack
  readonly reaches: Reaches
}

export function createPackJobs(workers: PackWorkers, spool: Pick<Spool, 'roomBytes'>): PackJobs {
  return {
    async check(spooled, view, limits, options) {
      const { pack, spool: state } = await workers.run(
        { kind: 'index', snapshot: (view as Snapshot).toMessage(), spool: spooled.state(), roomBytes: spool.roomBytes, limits },
        options,
      )
      await spooled.adopt(state)
      if (!pack) return undefined
      const { tbl, sha1, sha256, idx, rev, roots, externals, expected, ...rest } = pack
      return {
        ...rest,
        sha1: bufferOf(sha1),
        sha256: bufferOf(sha256),
        idx: bufferOf(idx),
        rev: bufferOf(rev),
        table: ObjectTable.openChecked(tbl),
        connections: { roots, externals, expected, special: [] },
      }
    },
    answer: (view, request, options) => workers.stream({ kind: 'enumerate', snapshot: (view as Snapshot).toMessage(), request }, options),
    reaches: async (view, wants, haves, options) =>
      (await workers.run({ kind: 'reach', snapshot: (view as Snapshot).toMessage(), wants, haves }, options)).reached,
  }
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
