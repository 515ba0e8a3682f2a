import { listLinkersOf, listRepositoriesById, type NamedRepository } from '../db/all-packs.js'
import { HubError } from '../errors.js'
import { ProtocolError } from '../../protocol/errors.js'
import type { Collector } from '../kept/collect.js'
import { compareBlobs, type BlobDifference, type BlobFigures } from '../kept/compare.js'
import { checkRepository, wordsOf, type BlobFault, type CheckDependencies } from '../packs/check/check-repository.js'
import type { BlobKey } from '../storage/blob-store.js'
import { sha256OfKey } from '../storage/keys.js'
import type { Log } from './ground.js'

export interface FsckDependencies extends CheckDependencies {
  readonly blobs: Pick<Collector, 'removeOrphan'>
  readonly log: Log
}

export interface FsckOptions {
  /** All bytes are read and hashed. */
  readonly bytes: boolean
  /** What can be had from elsewhere is put back. */
  readonly repair: boolean
  /** Bytes that no row knows are deleted. */
  readonly removeOrphans: boolean
  readonly signal: AbortSignal
}

/** Something that is not as it should be. */
export interface FsckFinding {
  readonly about: 'pack' | 'sidecar' | 'refs' | 'large-file' | 'orphan' | 'repository'
  readonly state: 'left' | 'repaired'
  /** Such as `model admin/x`; undefined: it is nobody's in particular. */
  readonly repository?: string
  /** For people, in one line. */
  readonly says: string
}

/** What was looked at, and what came of it. */
export interface FsckFigures extends BlobFigures {
  repositories: number
  packs: number
  /** Objects that refs lead to. */
  objects: number
  repaired: number
  /** What is wrong and was left. Orphans are not. */
  left: number
  orphans: number
  orphanBytes: number
  /** Orphans that were deleted. */
  removed: number
}

export type FsckStep = { readonly finding: FsckFinding } | { readonly figures: Readonly<FsckFigures> }

export type Fsck = (options: FsckOptions) => AsyncGenerator<FsckStep>

const hour = 60 * 60_000
/** Bytes come after their row, and an upload may take long. */
const orphanAgeMs = 48 * hour
/** Faults of a store: beyond these somebody has to look at the store itself. */
const maxDamaged = 100_000
const pageRows = 500
const linkersNamed = 5

/**
 * Compares store and database, follows the refs of every repository, and yields what is wrong as it is found; the figures come last. Nothing is
 * changed unless the options say so. One run at a time.
 * @throws HubError `busy` while another runs, or when more than 100,000 blobs are broken; the signal's reason
 */
export function createFsck(deps: FsckDependencies): Fsck {
  let isRunning = false
  return async function* (options) {
    if (isRunning) throw new HubError('busy', 'fsck is running already')
    isRunning = true
    try {
      const run = new Run(deps, options)
      for await (const finding of run.findings()) yield { finding: run.count(finding) }
      deps.log({ ...run.figures, ...optionsOf(options) }, 'repositories and store checked')
      yield { figures: run.figures }
    } catch (error) {
      throw options.signal.aborted ? new ProtocolError('cancelled', 'the client left') : error
    } finally {
      isRunning = false
    }
  }
}

const optionsOf = ({ bytes, repair, removeOrphans }: FsckOptions) => ({ asked: { bytes, repair, removeOrphans } })

class Run {
  readonly figures: FsckFigures = {
    blobs: 0,
    bytes: 0,
    hashedBytes: 0,
    repositories: 0,
    packs: 0,
    objects: 0,
    repaired: 0,
    left: 0,
    orphans: 0,
    orphanBytes: 0,
    removed: 0,
  }
  readonly #deps: FsckDependencies
  readonly #options: FsckOptions
  /** Of packs and what belongs to them. */
  readonly #damaged = new Map<BlobKey, BlobFault>()

  constructor(deps: FsckDependencies, options: FsckOptions) {
    this.#deps = deps
    this.#options = options
  }

  count(finding: FsckFinding): FsckFinding {
    if (finding.state === 'repaired') this.figures.repaired += 1
    else if (finding.about !== 'orphan') this.figures.left += 1
    return finding
  }

  async *findings(): AsyncGenerator<FsckFinding> {
    yield* this.#compare('lfs/')
    // Sidecars are checked by what packs are: both are known before the first repository is looked at.
    yield* this.#compare('packs/')
    yield* this.#compare('side/')
    for (let after = 0; ; ) {
      const page = await listRepositoriesById(this.#deps.db, after, pageRows)
      for (const repository of page) yield* this.#checkRepository(repository)
      if (page.length < pageRows) return
      after = page.at(-1)!.id
    }
  }

  async *#compare(prefix: 'lfs/' | 'packs/' | 'side/'): AsyncGenerator<FsckFinding> {
    const { bytes, signal } = this.#options
    for await (const difference of compareBlobs(this.#deps, { prefix, hash: bytes, orphanAgeMs, figures: this.figures, signal })) {
      const { kind, key } = difference
      if (kind === 'orphan') yield* this.#orphan(difference)
      else if (prefix === 'lfs/') yield* this.#largeFile(key, kind)
      else if (this.#damaged.size < maxDamaged) this.#damaged.set(key, { kind })
      else throw new HubError('busy', `more than ${maxDamaged} stored blobs are broken: it is the store that has to be looked at`)
    }
  }

  async *#orphan(orphan: BlobDifference): AsyncGenerator<FsckFinding> {
    const { key, bytes } = orphan
    this.figures.orphans += 1
    this.figures.orphanBytes += bytes
    const removed = this.#options.removeOrphans && (await this.#deps.blobs.removeOrphan(orphan))
    if (removed) this.figures.removed += 1
    yield {
      about: 'orphan',
      state: removed ? 'repaired' : 'left',
      says: `${key} (${bytes} bytes) is in the store and in no row${removed ? ': deleted' : ''}`,
    }
  }

  async *#largeFile(key: BlobKey, kind: BlobFault['kind']): AsyncGenerator<FsckFinding> {
    const oid = sha256OfKey(key)!
    const linkers = await listLinkersOf(this.#deps.db, Buffer.from(oid, 'hex'), linkersNamed + 1)
    const named = linkers.slice(0, linkersNamed).map(nameOf).join(', ')
    const whose = linkers.length === 0 ? 'of no repository' : `of ${named}${linkers.length > linkersNamed ? ' and others' : ''}`
    yield { about: 'large-file', state: 'left', says: `large file ${oid} ${wordsOf(kind)}: ${whose}` }
  }

  async *#checkRepository(row: NamedRepository): AsyncGenerator<FsckFinding> {
    const { bytes, repair, signal } = this.#options
    const repository = nameOf(row)
    signal.throwIfAborted()
    try {
      const options = { damaged: this.#damaged, hash: bytes, repair, signal, figures: this.figures }
      for await (const finding of checkRepository(this.#deps, row.id, options)) yield { ...finding, repository }
    } catch (error) {
      if (signal.aborted || !(error instanceof Error)) throw error
      if (error instanceof HubError && error.code === 'repo-not-found') return
      // One that cannot be looked at keeps nobody from looking at the others.
      yield { about: 'repository', state: 'left', repository, says: `could not be checked to its end: ${error.message}` }
    }
    this.figures.repositories += 1
  }
}

const nameOf = ({ type, name }: NamedRepository): string => `${type} ${name}`
