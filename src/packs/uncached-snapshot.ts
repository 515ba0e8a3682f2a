import { ProtocolError } from '../../protocol/errors.js'
import { listAllPacks, type AnyPackRow } from '../db/all-packs.js'
import { findSnapshotRow, readInline } from '../db/packs.js'
import { listRefs, type RefRow } from '../db/refs.js'
import { HubError } from '../errors.js'
import { PackList, type OpenedPack } from './pack-list.js'
import { RefList } from './ref-list.js'
import { SnapshotLeases } from './snapshot-leases.js'
import { RepoSnapshot, type Snapshot } from './snapshot.js'
import { inlineBatches, type SnapshotsOptions } from './snapshots.js'

export interface UncachedOptions {
  /** Ids of packs to be read as if they were not there. */
  readonly without: ReadonlySet<number>
  /** Packs out of use are read as well, as garbage. */
  readonly withRetired: boolean
}

/** A repository as database and store have it now; nothing of it comes from memory. */
export interface UncachedSnapshot {
  readonly snapshot: Snapshot
  /** All of them, hidden ones as well. */
  readonly refs: readonly RefRow[]
  /** Those it was made of. */
  readonly rows: readonly AnyPackRow[]
  /** Packs whose table does not read back, with what is wrong. They are not in the snapshot. */
  readonly unopened: readonly { readonly row: AnyPackRow; readonly says: string }[]
}

/**
 * Whoever calls releases the snapshot.
 * @throws HubError `repo-not-found`, `unavailable`; ProtocolError `corrupt` when inline packs or their tables are not what they should be
 */
export async function openUncached(
  { db, openPack, leasing, inline }: Pick<SnapshotsOptions, 'db' | 'openPack' | 'leasing' | 'inline'>,
  repoId: number,
  { without, withRetired }: UncachedOptions,
): Promise<UncachedSnapshot> {
  const list = new PackList(inline)
  try {
    const read = await db.transaction(
      async (tx) => {
        const row = await findSnapshotRow(tx, repoId)
        if (!row) throw new HubError('repo-not-found', 'Repository not found')
        const refs = await listRefs(tx, repoId)
        const rows = (await listAllPacks(tx, repoId)).filter(({ id, state }) => !without.has(id) && (withRetired || state !== 'retired'))
        const numbers = new Map<number, number>()
        for (const ids of inlineBatches(rows.filter((pack) => !pack.tblSha256))) {
          const found = await readInline(tx, ids)
          if (found.length !== ids.length) throw new ProtocolError('corrupt', `inline packs of repository ${repoId} are missing`)
          for (const [id, number] of await list.addInline(found)) numbers.set(id, number)
        }
        return { row, refs, rows, numbers }
      },
      { isolation: 'repeatable read', readOnly: true },
    )
    const { stored, unopened } = await openEach(read.rows, openPack)
    list.bringForward(
      read.rows.map((row) => (row.state === 'retired' ? { ...row, state: 'garbage' as const } : row)),
      { inline: read.numbers, stored },
    )
    const { refsVer, packsVer, gcEpoch, purgeEpoch } = read.row
    const held = list.holdSet()
    const { packs, stored: files } = held.set
    const leases = leasing && new SnapshotLeases(leasing, (pack) => ({ ...packs[pack]!, file: files[pack]!.file! }))
    const snapshot = new RepoSnapshot({
      repoId,
      versions: { refsVer, packsVer, gcEpoch, purgeEpoch },
      refs: RefList.of(read.row.headRef, read.refs),
      set: held.set,
      reader: list.reader,
      leases,
      release: () => {
        leases?.release()
        held.drop()
      },
    })
    return { snapshot, refs: read.refs, rows: read.rows, unopened }
  } finally {
    list.retire()
  }
}

async function openEach(rows: readonly AnyPackRow[], openPack: SnapshotsOptions['openPack']) {
  const stored = new Map<number, OpenedPack>()
  const unopened: { row: AnyPackRow; says: string }[] = []
  try {
    for (const row of rows) {
      if (!row.tblSha256) continue
      try {
        stored.set(row.id, await openPack(row))
      } catch (error) {
        if (!(error instanceof ProtocolError || error instanceof HubError) || error.code !== 'corrupt') throw error
        unopened.push({ row, says: error.message })
      }
    }
    return { stored, unopened }
  } catch (error) {
    for (const { bytes } of stored.values()) bytes.drop()
    throw error
  }
}
