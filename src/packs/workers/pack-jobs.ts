import { mayUseBitmaps } from '../../../protocol/enumerate.js'
import type { AnswerPack, Deepen, PackView, Reaches } from '../../../protocol/ports.js'
import type { PackBeyond } from '../../../protocol/pack/beyond.js'
import type { ColumnsState } from '../../../protocol/pack/pack-columns.js'
import { ObjectTable } from '../../../protocol/pack/object-table.js'
import type { LoadBitmaps } from '../bitmaps/kept-bitmaps.js'
import type { BeginCheck } from '../check-pack.js'
import type { Classify } from '../collect/classify.js'
import type { CopyPack } from '../collect/copy-pack.js'
import type { Covers } from '../collect/covers.js'
import type { Repack } from '../collect/repack-here.js'
import type { MakeSideFiles } from '../collect/side-files.js'
import type { FindPointers } from '../find-pointers.js'
import type { IngestedPack } from '../ingest.js'
import type { PackFetch } from '../snapshot-leases.js'
import type { Snapshot, SnapshotMessage } from '../snapshot.js'
import type { Spool } from '../spool.js'
import type { IndexedPack } from './messages.js'
import type { PackWorkers } from './pool.js'

/** A thread that follows a pack as it arrives is told when there is this much more. */
const growthBytes = 256 * 1024

/** The same work as on the main thread, done in others. The views must be snapshots. */
export interface PackJobs {
  readonly beginCheck: BeginCheck
  readonly answer: AnswerPack
  readonly reaches: Reaches
  readonly beyond: PackBeyond
  readonly deepen: Deepen
  readonly findPointers: FindPointers
  readonly repack: Repack
  readonly copyPack: CopyPack
  readonly classify: Classify
  readonly covers: Covers
  readonly makeSideFiles: MakeSideFiles
}

/** `loadBitmaps`: by default there are none. */
export function createPackJobs(
  workers: PackWorkers,
  spool: Pick<Spool, 'roomBytes'>,
  loadBitmaps: LoadBitmaps = () => Promise.resolve(undefined),
): PackJobs {
  return {
    beginCheck(spooled, limits, { growing, copied = false, ...options }) {
      const job = workers.open({ kind: 'index', spool: spooled.state({ growing }), limits, copied }, options)
      let told = spooled.length
      return {
        grew() {
          if (spooled.length - told < growthBytes) return
          told = spooled.length
          job.say({ kind: 'grew', length: told })
        },
        async finish(view) {
          job.lend((view as Snapshot).fetch)
          job.say({ kind: 'arrived', spool: spooled.state(), snapshot: (view as Snapshot).toMessage(), roomBytes: spool.roomBytes })
          const { pack, spool: state } = await job.result()
          await spooled.adopt(state)
          return pack && unpacked(pack)
        },
        abandon: () => job.abandon(),
      }
    },
    async *answer(view, request, options) {
      const bitmaps = mayUseBitmaps(request) ? await loadBitmaps(view as Snapshot) : undefined
      const { snapshot, fetch } = lent(view)
      yield* workers.stream({ kind: 'enumerate', snapshot, request, bitmaps }, options, fetch)
    },
    reaches: async (view, wants, haves, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'reach', snapshot, wants, haves }, options, fetch)).reached
    },
    beyond: async (view, request, given, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'beyond', snapshot, request, given }, options, fetch)).pack
    },
    deepen: (view, request, options) => {
      const { snapshot, fetch } = lent(view)
      return workers.run({ kind: 'deepen', snapshot, request }, options, fetch)
    },
    findPointers: async (view, wants, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'pointers', snapshot, wants }, options, fetch)).oids
    },
    repack: (view, selection, options) => {
      const { snapshot, fetch } = lent(view)
      return workers.stream({ kind: 'repack', snapshot, selection, crcs: undefined }, options, fetch)
    },
    copyPack: (view, { selection, crcs }, options) => {
      const { snapshot, fetch } = lent(view)
      let columns: ColumnsState | undefined
      return {
        chunks: ended(workers.stream({ kind: 'repack', snapshot, selection, crcs }, options, fetch), (result) => (columns = result.columns)),
        async finish(pack) {
          const { sidecars } = await workers.run({ kind: 'sidecars', request: { ...pack, columns: columns! } }, options)
          return { objects: columns!.count, sidecars }
        },
      }
    },
    classify: async (view, request, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'classify', snapshot, request }, options, fetch)).classified
    },
    covers: async (view, tips, marks, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'cover', snapshot, tips, marks }, options, fetch)).covered
    },
    makeSideFiles: async (view, request, options) => {
      const { snapshot, fetch } = lent(view)
      return (await workers.run({ kind: 'side-files', snapshot, request }, options, fetch)).files
    },
  }
}

/** The same, and then what the job came to. */
async function* ended<R>(chunks: AsyncGenerator<Uint8Array, R>, onEnd: (result: R) => void): AsyncGenerator<Uint8Array> {
  onEnd(yield* chunks)
}

/** What another thread needs of a snapshot that is held here meanwhile. */
function lent(view: PackView): { readonly snapshot: SnapshotMessage; readonly fetch: PackFetch | undefined } {
  const snapshot = view as Snapshot
  return { snapshot: snapshot.toMessage(), fetch: snapshot.fetch }
}

function unpacked({ sha1, sha256, sidecars, roots, externals, expected, ...rest }: IndexedPack): IngestedPack {
  return {
    ...rest,
    sha1: bufferOf(sha1),
    sha256: bufferOf(sha256),
    sidecars,
    table: ObjectTable.openChecked(sidecars.tbl),
    connections: { roots, externals, expected, special: [] },
  }
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
