import { createHash } from 'node:crypto'
import { listAllPacks, type AnyPackRow } from '../../db/all-packs.js'
import { readInline } from '../../db/packs.js'
import { HubError } from '../../errors.js'
import { ProtocolError } from '../../../protocol/errors.js'
import { hasNamedBytes, type BlobDifference } from '../../kept/compare.js'
import type { BlobKey } from '../../storage/blob-store.js'
import { packKey } from '../../storage/keys.js'
import { inlineBatches } from '../snapshots.js'
import { followRefs, saysCorrupt, type Closure, type ClosureDependencies } from './closure.js'
import { blobsOfRow, isCached, linkAgain, putBackPack, putBackSidecars, type NamedBlob, type PutBackDependencies } from './put-back.js'
import { setAside, type SetAside, type SetAsideDependencies } from './set-aside.js'

export type CheckDependencies = ClosureDependencies & PutBackDependencies & SetAsideDependencies

/** What is wrong with bytes that something needs. */
export interface BlobFault {
  readonly kind: Exclude<BlobDifference['kind'], 'orphan'>
}

/** Something that is not as it should be. */
export interface PackFinding {
  readonly about: 'pack' | 'sidecar' | 'refs'
  /** `left`: it is as it was found. */
  readonly state: 'left' | 'repaired'
  /** For people, in one line. */
  readonly says: string
}

export interface CheckRepositoryOptions {
  /** What a comparison of the store with its rows found. What is repaired is taken out. */
  readonly damaged: Map<BlobKey, BlobFault>
  /** Inline packs are hashed. */
  readonly hash: boolean
  readonly repair: boolean
  readonly signal: AbortSignal
  /** Counted while it is looked at. */
  readonly figures: { packs: number; objects: number }
}

/** Whether refs lead only to what is there is found out so often anew while they move. */
const maxTries = 3

/**
 * Checks the packs of a repository, and all that its refs lead to; with `repair` puts back what can be had from somewhere else.
 * @throws ProtocolError `cancelled`; HubError `repo-not-found`, `unavailable`
 */
export async function* checkRepository(deps: CheckDependencies, repoId: number, options: CheckRepositoryOptions): AsyncGenerator<PackFinding> {
  yield* new RepositoryCheck(deps, repoId, options).run()
}

interface LostPack {
  readonly row: AnyPackRow
  readonly says: string
}

class RepositoryCheck {
  readonly #deps: CheckDependencies
  readonly #repoId: number
  readonly #options: CheckRepositoryOptions
  /** Packs whose bytes are not to be had. */
  readonly #lost: LostPack[] = []
  /** Packs out of use that are not to be had either. */
  #broken: readonly number[] = []

  constructor(deps: CheckDependencies, repoId: number, options: CheckRepositoryOptions) {
    this.#deps = deps
    this.#repoId = repoId
    this.#options = options
  }

  async *run(): AsyncGenerator<PackFinding> {
    const { figures, hash, signal } = this.#options
    const all = await listAllPacks(this.#deps.db, this.#repoId)
    const rows = all.filter(({ state }) => state !== 'retired')
    this.#broken = all
      .filter((row) => row.state === 'retired' && blobsOfRow(row).some(({ key }) => this.#options.damaged.has(key)))
      .map(({ id }) => id)
    for (const row of rows) {
      signal.throwIfAborted()
      figures.packs += 1
      yield* this.#checkStored(row)
    }
    if (hash) await this.#checkInline(rows.filter(({ tblSha256 }) => !tblSha256))
    yield* this.#checkRefs()
  }

  async *#checkStored(row: AnyPackRow): AsyncGenerator<PackFinding> {
    const { damaged, repair, signal } = this.#options
    const blobs = blobsOfRow(row)
    yield* this.#checkLinks(row, blobs)
    const [pack, ...sidecars] = blobs
    const difference = pack && damaged.get(pack.key)
    if (pack && difference) {
      const says = `${nameOf(row)} ${wordsOf(difference.kind)}`
      const isHad = repair ? await putBackPack(this.#deps, this.#repoId, row, signal) : await isCached(this.#deps, row)
      if (!isHad) {
        this.#lost.push({ row, says })
        return
      }
      if (repair) damaged.delete(pack.key)
      yield { about: 'pack', state: repair ? 'repaired' : 'left', says: `${says}: ${repair ? '' : 'can be '}put back from the cache` }
    }
    yield* this.#checkSidecars(
      row,
      sidecars.filter(({ key }) => damaged.has(key)),
    )
  }

  /** Bytes that no row links are deleted some day. */
  async *#checkLinks(row: AnyPackRow, blobs: readonly NamedBlob[]): AsyncGenerator<PackFinding> {
    const { db, store, keeper } = this.#deps
    const { damaged, repair } = this.#options
    for (const blob of blobs.filter(({ kind }) => !row.links.includes(kind))) {
      const info = await store.stat(blob.key)
      if (!info) {
        damaged.set(blob.key, { kind: 'missing' })
        continue
      }
      const says = `${nameOf(row)}: nothing says that its .${blob.kind} is needed`
      if (repair) {
        await keeper.keep([{ key: blob.key, bytes: info.bytes, write: async () => undefined }])
        await linkAgain(db, this.#repoId, row, [blob])
      }
      yield { about: blob.kind === 'pack' ? 'pack' : 'sidecar', state: repair ? 'repaired' : 'left', says }
    }
  }

  async *#checkSidecars(row: AnyPackRow, wrong: readonly NamedBlob[]): AsyncGenerator<PackFinding> {
    if (wrong.length === 0) return
    const { damaged, repair } = this.#options
    const why = repair ? await this.#madeAnew(row, wrong) : 'it can be made anew from its pack'
    if (this.#lost.some((lost) => lost.row === row)) return // its sidecars share its fate
    for (const { kind, key } of wrong) {
      const says = `${nameOf(row)}: its .${kind} ${wordsOf(damaged.get(key)!.kind)}`
      yield { about: 'sidecar', state: why === undefined ? 'repaired' : 'left', says: `${says}: ${why ?? 'made anew from its pack'}` }
      if (why === undefined) damaged.delete(key)
    }
  }

  /** Undefined: done; else why not. A pack that proves to be lost is among the lost ones then. */
  async #madeAnew(row: AnyPackRow, wrong: readonly NamedBlob[]): Promise<string | undefined> {
    const { signal } = this.#options
    try {
      await putBackSidecars(this.#deps, this.#repoId, row, wrong, signal)
      return undefined
    } catch (error) {
      if (signal.aborted || !(error instanceof HubError || error instanceof ProtocolError)) throw error
      const isLost = error.code === 'corrupt' && !(await hasNamedBytes(this.#deps.store, packKey(row.sha256), { signal }))
      if (isLost) this.#lost.push({ row, says: `${nameOf(row)} ${wordsOf('bytes')}` })
      return error.message
    }
  }

  async #checkInline(rows: readonly AnyPackRow[]): Promise<void> {
    const byId = new Map(rows.map((row) => [row.id, row]))
    for (const ids of inlineBatches(rows)) {
      this.#options.signal.throwIfAborted()
      for (const { packId, pack } of await readInline(this.#deps.db, ids)) {
        const row = byId.get(packId)!
        if (!createHash('sha256').update(pack).digest().equals(row.sha256)) this.#lost.push({ row, says: `${nameOf(row)} ${wordsOf('bytes')}` })
      }
    }
  }

  /** `again`: tables were made anew just now. */
  async *#checkRefs(again = false): AsyncGenerator<PackFinding> {
    const first = await this.#follow(false)
    if ('says' in first) return yield* this.#unreadable(first.says)
    if (first.unopened.length > 0) return yield* this.#checkUnopened(first, again)
    this.#options.figures.objects += first.objects
    if (this.#lost.length === 0 && !first.broken) return
    const way = await this.#wayOut(first)
    const done = way && this.#options.repair ? await this.#setAside(way) : undefined
    const state = done ? 'repaired' : 'left'
    for (const { says } of this.#lost) yield { about: 'pack', state, says: `${says}: ${fate(way, done !== undefined)}` }
    if (first.broken && !(way && this.#lost.length > 0)) {
      const { ref, says } = first.broken
      yield { about: 'refs', state, says: `${ref ?? 'a ref'} leads to what is not there: ${says}` + (way ? `; it is in packs out of use` : '') }
    }
    if (done?.uncollected !== undefined)
      yield { about: 'refs', state: 'left', says: `refs lead into garbage until a collection ends: ${done.uncollected}` }
  }

  /** How refs lead only to what is there, once what is lost is out of use; undefined: in no way. */
  async #wayOut(without: Closure): Promise<Closure | undefined> {
    if (!without.broken) return without
    const withRetired = await this.#follow(true)
    return 'says' in withRetired || withRetired.broken ? undefined : withRetired
  }

  async #setAside(way: Closure): Promise<Extract<SetAside, { outcome: 'done' }> | undefined> {
    const lost = this.#lost.map(({ row }) => row)
    let closure: Closure | undefined = way
    for (let tries = 0; closure && tries < maxTries; tries++) {
      const done = await setAside(this.#deps, this.#repoId, lost, closure, this.#options.signal)
      if (done.outcome === 'done') return done
      const now = await this.#follow(false)
      closure = 'says' in now ? undefined : await this.#wayOut(now)
    }
    return undefined
  }

  async #follow(withRetired: boolean): Promise<Closure | Unreadable> {
    const without = new Set([...this.#lost.map(({ row }) => row.id), ...this.#broken])
    try {
      return await followRefs(this.#deps, this.#repoId, { without, withRetired }, this.#options.signal)
    } catch (error) {
      const says = saysCorrupt(error)
      if (says === undefined) throw error
      return { says }
    }
  }

  /** Tables that do not read back, though nobody has said so before. */
  async *#checkUnopened({ unopened }: Closure, again: boolean): AsyncGenerator<PackFinding> {
    const { damaged } = this.#options
    const tables = unopened.map(({ row }) => ({ row, table: blobsOfRow(row).filter(({ kind }) => kind === 'tbl') }))
    const news = again ? [] : tables.filter(({ table }) => table.some(({ key }) => !damaged.has(key)))
    let left = tables.length - news.length
    for (const { row, table } of news) {
      for (const { key } of table) damaged.set(key, { kind: 'bytes' })
      for await (const finding of this.#checkSidecars(row, table)) {
        if (finding.state === 'left') left += 1
        yield finding
      }
    }
    if (left === 0) yield* this.#checkRefs(true)
    else yield* this.#unreadable(`${left === 1 ? 'the table of a pack does' : `the tables of ${left} packs do`} not read back`)
  }

  async *#unreadable(says: string): AsyncGenerator<PackFinding> {
    for (const lost of this.#lost) yield { about: 'pack', state: 'left', says: lost.says }
    yield { about: 'refs', state: 'left', says: `refs were not followed: ${says}` }
  }
}

interface Unreadable {
  readonly says: string
}

/** What becomes of a pack that is lost. */
function fate(way: Closure | undefined, done: boolean): string {
  if (!way) return 'it is nowhere else, and refs lead into it'
  const where = `all that refs lead to is in other packs${way.revived.length === 0 ? '' : ', out of use until now'}`
  return `${done ? 'set aside' : 'can be set aside'}, ${where}`
}
const nameOf = ({ sha256, source }: AnyPackRow): string => `pack ${sha256.toString('hex')} (${source})`

/** What is wrong with bytes, behind what they are of. */
export function wordsOf(kind: BlobDifference['kind']): string {
  return {
    missing: 'is not in the store',
    size: 'has another size than was stored',
    bytes: 'has other bytes than were stored',
    orphan: 'has no row',
  }[kind]
}
