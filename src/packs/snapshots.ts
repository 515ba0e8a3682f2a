import type { Database, Transaction } from '../db/pool.js'
import { findSnapshotRow, listChangedPacks, readInline, type PackRow, type SnapshotRow } from '../db/packs.js'
import { HubError } from '../errors.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { InlinePacksOptions } from './inline-packs.js'
import { readRefs, type KnownRefs } from './known-refs.js'
import type { PackLeasing } from './local-packs.js'
import { PackList, type OpenedPack } from './pack-list.js'
import { SnapshotLeases } from './snapshot-leases.js'
import { RepoSnapshot, type PurgeEra, type Snapshot, type SnapshotVersions } from './snapshot.js'

export interface SnapshotsOptions {
  readonly db: Database
  /** Opens a pack of the BlobStore with its table. @throws ProtocolError `corrupt` */
  readonly openPack: (row: PackRow) => Promise<OpenedPack>
  /** Undefined: the files of packs stay where they are. */
  readonly leasing?: PackLeasing | undefined
  readonly inline: InlinePacksOptions
  /** Tables and inline packs of all repositories, bytes. What is in use is kept even beyond it. */
  readonly tableBytes: number
  /** What else counts as tables, bytes. */
  readonly otherBytes?: () => number
}

/** All that is known of a repository at one moment of the database. */
interface Loaded {
  readonly versions: SnapshotVersions
  readonly refs: KnownRefs
  readonly list: PackList
  readonly bytes: number
  readonly at: number
  readonly era: PurgeEra
}

interface RepoEntry {
  readonly repoId: number
  loaded: Loaded | undefined
  /** Snapshots that are open, and callers on the way to one. */
  pins: number
  /** The read under way. */
  running: Promise<void> | undefined
  /** The read after it, which everybody who came meanwhile waits for. */
  next: Promise<void> | undefined
}

interface Read {
  readonly row: SnapshotRow
  readonly list: PackList
  readonly refs: KnownRefs
  readonly rows: readonly PackRow[]
  readonly inline: ReadonlyMap<number, number>
}

/** Rows of packs that went away are removed long after they were marked. Who has not looked for this long looks at everything anew. */
const maxIdleMs = 12 * 60 * 60_000
const inlineBatchBytes = 4 * 1024 * 1024
const parallelTables = 8

/**
 * Opens snapshots, and keeps what they are made of while there is room. Refs and packs always come from one moment of the
 * database, so refs are never ahead of packs; what is known is brought forward by what changed.
 */
export class Snapshots {
  readonly #options: SnapshotsOptions
  /** Least recently used first. */
  readonly #entries = new Map<number, RepoEntry>()
  #bytes = 0

  constructor(options: SnapshotsOptions) {
    this.#options = options
  }

  /** Memory held, bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * The repository as it stands, or, given versions, as of these or later: then without SQL when that much is known already.
   * @throws HubError `repo-not-found`; `unavailable` when the database is behind the versions given
   */
  async open(repoId: number, versions?: SnapshotVersions): Promise<Snapshot> {
    const entry = this.#entries.get(repoId) ?? { repoId, loaded: undefined, pins: 0, running: undefined, next: undefined }
    this.#entries.delete(repoId)
    this.#entries.set(repoId, entry)
    entry.pins++
    try {
      // A read that is under way may do for the versions asked for, never for "as it stands".
      while (versions && !covers(entry.loaded, versions) && (entry.running ?? entry.next)) await (entry.running ?? entry.next)!.catch(() => {})
      if (!versions || !covers(entry.loaded, versions)) await this.#refresh(entry)
      const loaded = entry.loaded!
      if (versions && !covers(loaded, versions))
        throw new HubError('unavailable', `the database is behind the versions known of repository ${repoId}`)
      return this.#snapshot(entry, loaded)
    } catch (error) {
      this.#unpin(entry)
      throw error
    }
  }

  /**
   * Something was purged from a repository: nothing more is read through snapshots from before that epoch, and what is kept from before is dropped.
   * @throws as `open`; then the next snapshot looks again
   */
  async forgetBefore(repoId: number, purgeEpoch: number): Promise<void> {
    const entry = this.#entries.get(repoId)
    if (!entry) return
    if (entry.loaded && entry.loaded.versions.purgeEpoch < purgeEpoch) entry.loaded.era.over = true
    if (entry.pins > 0 || entry.running || entry.next) return this.#refresh(entry)
    if (!entry.loaded?.era.over) return
    this.#entries.delete(repoId)
    this.#replace(entry, undefined)
  }

  /** Repositories that something is kept of, and the epoch it belongs to. */
  *known(): Generator<readonly [repoId: number, purgeEpoch: number]> {
    for (const { repoId, loaded } of this.#entries.values()) if (loaded) yield [repoId, loaded.versions.purgeEpoch]
  }

  /** Lets go of everything; snapshots that are open stay whole. */
  close(): void {
    for (const entry of this.#entries.values()) entry.loaded?.list.retire()
    this.#entries.clear()
    this.#bytes = 0
  }

  #snapshot(entry: RepoEntry, { versions, refs, list, era }: Loaded): Snapshot {
    const { leasing } = this.#options
    const held = list.holdSet()
    const { packs, stored } = held.set
    const leases = leasing && new SnapshotLeases(leasing, (pack) => ({ ...packs[pack]!, file: stored[pack]!.file! }))
    let holders = 1
    const drop = () => {
      if (--holders > 0) return
      leases?.release()
      held.drop()
      this.#unpin(entry)
    }
    return new RepoSnapshot({
      repoId: entry.repoId,
      versions,
      refs: refs.list,
      set: held.set,
      reader: list.reader,
      era,
      leases,
      release: once(drop),
      retain: () => {
        holders++
        return once(drop)
      },
    })
  }

  #unpin(entry: RepoEntry): void {
    entry.pins--
    if (!entry.loaded && entry.pins === 0 && this.#entries.get(entry.repoId) === entry) this.#entries.delete(entry.repoId)
    this.#shrink()
  }

  #shrink(): void {
    const { tableBytes, otherBytes = () => 0 } = this.#options
    const room = tableBytes - otherBytes()
    if (this.#bytes <= room) return
    for (const entry of this.#entries.values()) {
      if (entry.pins > 0) continue
      this.#entries.delete(entry.repoId)
      this.#replace(entry, undefined)
      if (this.#bytes <= room) return
    }
  }

  #replace(entry: RepoEntry, loaded: Loaded | undefined): void {
    const old = entry.loaded
    entry.loaded = loaded
    if (loaded && old && old.era !== loaded.era) old.era.over = true
    this.#bytes += (loaded?.bytes ?? 0) - (old?.bytes ?? 0)
    if (old && old.list !== loaded?.list) old.list.retire()
  }

  /** Reads after this call: a read that began before may have missed what the caller knows of. */
  #refresh(entry: RepoEntry): Promise<void> {
    const start = (): Promise<void> => {
      const running = this.#load(entry).finally(() => {
        if (entry.running === running) entry.running = undefined
      })
      entry.running = running
      return running
    }
    if (entry.next) return entry.next
    if (!entry.running) return start()
    return (entry.next = entry.running
      .catch(() => {})
      .then(() => {
        entry.next = undefined
        return start()
      }))
  }

  async #load(entry: RepoEntry): Promise<void> {
    try {
      await this.#loadOnce(entry)
    } catch (error) {
      // A pack may be deleted between the rows and its table: the rows of now do not name it any more.
      if (!(error instanceof ProtocolError && error.code === 'corrupt')) throw error
      await this.#loadOnce(entry)
    }
    this.#shrink()
  }

  async #loadOnce(entry: RepoEntry): Promise<void> {
    const { db } = this.#options
    const at = performance.now()
    const { loaded } = entry
    const known = loaded && !loaded.list.isWorn && at - loaded.at < maxIdleMs ? loaded : undefined
    const fresh = new PackList(this.#options.inline)
    let list = fresh
    try {
      const read = await db.transaction((tx) => this.#read(tx, entry.repoId, known, fresh), {
        isolation: 'repeatable read',
        readOnly: true,
        locksFirst: true,
      })
      list = read.list
      const stored = await this.#openPacks(read.rows.filter((row) => row.tblSha256 && row.state !== 'retired' && !list.knows(row.id)))
      if (list === fresh || read.rows.length > 0) list.bringForward(read.rows, { inline: read.inline, stored })
      const { refsVer, packsVer, gcEpoch, purgeEpoch } = read.row
      this.#replace(entry, {
        versions: { refsVer, packsVer, gcEpoch, purgeEpoch },
        refs: read.refs,
        list,
        bytes: list.bytes + read.refs.list.bytes,
        at,
        era: loaded?.versions.purgeEpoch === purgeEpoch ? loaded.era : { over: false },
      })
    } finally {
      if (entry.loaded?.list !== fresh) fresh.retire()
    }
  }

  async #read(tx: Transaction, repoId: number, loaded: Loaded | undefined, fresh: PackList): Promise<Read> {
    const row = await findSnapshotRow(tx, repoId)
    if (!row) throw new HubError('repo-not-found', 'Repository not found')
    // A database that was put back to an earlier state knows nothing of what came after.
    const isNewer = loaded && row.refsVer >= loaded.versions.refsVer && row.packsVer >= loaded.versions.packsVer
    // After a purge nothing of what was there before may be kept.
    const known = isNewer && row.purgeEpoch === loaded.versions.purgeEpoch ? loaded : undefined
    const list = known?.list ?? fresh
    const sameRefs = known?.versions.refsVer === row.refsVer && row.headRef.toString('latin1') === known.refs.list.head
    const [refs, rows] = await Promise.all([
      sameRefs ? known.refs : readRefs(tx, repoId, row, known?.refs),
      known?.versions.packsVer === row.packsVer ? [] : listChangedPacks(tx, repoId, known?.versions.packsVer ?? 0),
    ])
    const inline = new Map<number, number>()
    for (const ids of inlineBatches(rows.filter((pack) => !pack.tblSha256 && pack.state !== 'retired' && !list.knows(pack.id)))) {
      const found = await readInline(tx, ids)
      if (found.length !== ids.length) throw new ProtocolError('corrupt', `inline packs of repository ${repoId} are missing`)
      for (const [id, number] of await list.addInline(found)) inline.set(id, number)
    }
    return { row, list, refs, rows, inline }
  }

  async #openPacks(rows: readonly PackRow[]): Promise<Map<number, OpenedPack>> {
    const opened = new Map<number, OpenedPack>()
    try {
      for (let at = 0; at < rows.length; at += parallelTables) {
        const results = await Promise.allSettled(
          rows.slice(at, at + parallelTables).map(async (row) => {
            opened.set(row.id, await this.#options.openPack(row))
          }),
        )
        const failed = results.find((result) => result.status === 'rejected')
        if (failed) throw failed.reason
      }
      return opened
    } catch (error) {
      for (const { bytes } of opened.values()) bytes.drop()
      throw error
    }
  }
}

function once(work: () => void): () => void {
  let done = false
  return () => {
    if (!done) work()
    done = true
  }
}

function covers(loaded: Loaded | undefined, versions: SnapshotVersions): boolean {
  const known = loaded?.versions
  return (
    known !== undefined &&
    !loaded!.era.over &&
    known.refsVer >= versions.refsVer &&
    known.packsVer >= versions.packsVer &&
    known.gcEpoch >= versions.gcEpoch &&
    known.purgeEpoch >= versions.purgeEpoch
  )
}

/** Ids of inline packs, so many at a time as may be read at once. */
export function* inlineBatches(rows: readonly PackRow[]): Generator<number[]> {
  let ids: number[] = []
  let bytes = 0
  for (const row of rows) {
    ids.push(row.id)
    bytes += row.bytes
    if (bytes < inlineBatchBytes) continue
    yield ids
    ids = []
    bytes = 0
  }
  if (ids.length > 0) yield ids
}
