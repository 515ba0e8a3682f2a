import { randomUUID } from 'node:crypto'
import { objectTypes, type Oid, type RefName } from '../../../protocol/types.js'
import { oidBytes, oidFromBytes } from '../../../protocol/oid.js'
import { packOf, rankOf, type Slices, type WorkOptions } from '../../../protocol/ports.js'
import { listOldGarbage, markCollected, readRefsAt, retireGarbage, stripRetiredPacks, type PackPart } from '../../db/packs.js'
import type { RefRow } from '../../db/refs.js'
import { deleteSharedAnswersOf } from '../../db/shared-answers.js'
import { HubError } from '../../errors.js'
import type { BlobStore } from '../../storage/blob-store.js'
import type { StoredCrcs } from '../../../protocol/pack/pack-record.js'
import type { Packs } from '../packs.js'
import type { Snapshot } from '../snapshot.js'
import type { StageCopiedRequest } from '../stage-copied.js'
import type { AddSideFiles } from './add-side-files.js'
import { markOfClass, passedOver, tipsByClass, unreached, type Classified, type Classify } from './classify.js'
import type { CopyPack } from './copy-pack.js'
import type { Covers } from './covers.js'
import { readKnownGraph } from './known-graph.js'
import { replacePacks, type AddedPack, type ReplaceDependencies, type ReplaceOutcome } from './replace-packs.js'
import type { Selection } from './selection.js'
import { readStoredCrcs } from './stored-crcs.js'

export interface CollectDependencies extends ReplaceDependencies {
  readonly store: BlobStore
  readonly packs: Pick<Packs, 'openSnapshot' | 'stageCopied'>
  readonly copyPack: CopyPack
  readonly classify: Classify
  readonly covers: Covers
  /** Once a collection has come to its end. */
  readonly addSideFiles: AddSideFiles
  readonly slices: (signal: AbortSignal) => Slices
  /** The class of what a ref leads to. */
  readonly visibilityClass: (name: RefName) => 0 | 1 | 2
  /** How long what no ref leads to can be had back. */
  readonly retentionMs: number
  /** From here on blobs get a pack of their own: bytes of the packs that are collected. */
  readonly splitBytes?: number
}

export interface CollectPacksOptions {
  /** Changes nothing, and says what there is. */
  readonly dryRun?: boolean
  /** What no ref leads to goes at once and for good, and so does what is out of use. */
  readonly purge?: boolean
  /** With `purge`: objects that are to go. One that a ref leads to stops it all. */
  readonly mustGo?: readonly Oid[]
  readonly signal: AbortSignal
}

/** What a collection found, and what came of it. */
export interface CollectedPacks {
  /** `unchanged`: nothing to do, or a dry run. `moved-on`: so much was pushed meanwhile that it has to be tried again. */
  readonly outcome: 'collected' | 'unchanged' | 'moved-on'
  /** Live packs there were, and their bytes. */
  readonly packs: number
  readonly bytes: number
  /** Objects that refs lead to. */
  readonly objects: number
  /** Objects in live packs that no ref leads to: kept as garbage from now on. */
  readonly garbage: number
  /** Garbage packs that were kept for long enough, and go. */
  readonly expired: number
  /** Keys of blobs that a purge took from the repository. */
  readonly freed: readonly string[]
}

/** Brings the packs of a repository in order. @throws HubError `repo-not-found`, `conflict` for what must go and is in use, `storage-full`, `unavailable`; ProtocolError `corrupt`, `cancelled`, `too-large` */
export type CollectPacks = (repoId: number, options: CollectPacksOptions) => Promise<CollectedPacks>

const smallBytes = 4 * 1024 * 1024
/** Of what is not the closure of heads and tags. It is never an answer as it stands. */
const unknownConnections: StageCopiedRequest['connections'] = { roots: null, external: true }
const maxOpens = 5
/** Each look at what was pushed meanwhile is short: who is overtaken so often is best tried again later. */
const maxLooks = 5

/**
 * What refs lead to goes into one pack a visibility class (two, when it is large: history and trees in one, blobs in the other), what no ref leads
 * to into a pack of garbage, which is read and never relied on, until the retention time is over. See docs/git-storage.md, "Collection".
 */
export function createCollectPacks(deps: CollectDependencies): CollectPacks {
  return async (repoId, { dryRun = false, purge = false, mustGo = [], signal }) => {
    const { view, refs, refsVer } = await openWithRefs(deps, repoId)
    try {
      return await new Collecting(deps, repoId, view, refs, refsVer, { slices: deps.slices(signal) }, signal).run({ dryRun, purge, mustGo })
    } finally {
      view.release()
    }
  }
}

/** A snapshot, and all refs it belongs to: a snapshot itself may hide some. */
async function openWithRefs({ db, packs }: CollectDependencies, repoId: number) {
  for (let opens = 0; opens < maxOpens; opens++) {
    const at = await readRefsAt(db, repoId)
    if (!at) throw new HubError('repo-not-found', 'Repository not found')
    const view = await packs.openSnapshot(repoId)
    if (view.versions.refsVer === at.refsVer) return { view, ...at }
    view.release()
  }
  throw new HubError('busy', `the refs of repository ${repoId} move all the time`)
}

class Collecting {
  readonly #deps: CollectDependencies
  readonly #repoId: number
  readonly #view: Snapshot
  readonly #refs: readonly RefRow[]
  readonly #refsVer: number
  readonly #options: WorkOptions
  readonly #signal: AbortSignal
  readonly #freed: string[] = []
  /** Ordinals of the packs to be replaced. */
  readonly #live: readonly number[]

  constructor(
    deps: CollectDependencies,
    repoId: number,
    view: Snapshot,
    refs: readonly RefRow[],
    refsVer: number,
    options: WorkOptions,
    signal: AbortSignal,
  ) {
    this.#deps = deps
    this.#repoId = repoId
    this.#view = view
    this.#refs = refs
    this.#refsVer = refsVer
    this.#options = options
    this.#signal = signal
    this.#live = [...view.packs.keys()].filter((ordinal) => view.packs[ordinal]!.class < 3)
  }

  async run({ dryRun, purge, mustGo }: Required<Omit<CollectPacksOptions, 'signal'>>): Promise<CollectedPacks> {
    const { db, classify, visibilityClass, retentionMs } = this.#deps
    const garbage = [...this.#view.packs.keys()].filter((ordinal) => this.#view.packs[ordinal]!.class === 3)
    const tips = tipsByClass(this.#refs, visibilityClass)
    const knownGraph = await readKnownGraph(this.#deps.store, this.#view)
    const classified = await classify(this.#view, { tips, garbage, commitGraph: !dryRun && this.#isLarge(), knownGraph }, this.#options)
    const { marks, counts, reached } = classified
    this.#checkUnreached(mustGo, marks)
    const old = new Set(await listOldGarbage(db, this.#repoId, purge ? 0 : retentionMs))
    // Nothing leads into them any more; a purge writes what is led into anew first.
    const expired = garbage.filter((ordinal) => purge || !reached[ordinal]).map((ordinal) => this.#view.packs[ordinal]!.id)
    const expiredIds = expired.filter((id) => old.has(id))
    const report = {
      packs: this.#live.length,
      bytes: this.#bytes(),
      objects: counts.slice(1).reduce((sum, count) => sum + count, 0),
      garbage: counts[unreached]!,
      expired: expiredIds.length,
      freed: this.#freed,
    }
    if (dryRun) return { outcome: 'unchanged', ...report }
    const rescues = garbage.some((ordinal) => reached[ordinal])
    const inOrder = report.garbage === 0 && !rescues && this.#isCollected()
    if (inOrder && expiredIds.length === 0 && !purge) {
      await markCollected(db, this.#repoId, this.#refsVer)
      await this.#addSideFiles(classified)
      return { outcome: 'unchanged', ...report }
    }
    const added = inOrder ? [] : await this.#write(classified, { rescues, purge })
    const outcome = await this.#exchange(added, classified, { expired: expiredIds, purge, retired: inOrder ? [] : this.#live })
    if (outcome !== 'replaced') return { outcome: 'moved-on', ...report }
    await this.#addSideFiles(classified)
    return { outcome: 'collected', ...report }
  }

  #addSideFiles({ commitGraph }: Classified): Promise<void> {
    const branchesAndTags = this.#refs.filter(({ name }) => this.#deps.visibilityClass(name.toString('latin1') as RefName) === 0)
    const tips = branchesAndTags.map(({ oid, peeled }) => oidFromBytes(peeled ?? oid))
    return this.#deps.addSideFiles(this.#repoId, { tips: [...new Set(tips)], commitGraph, signal: this.#signal })
  }

  #bytes(): number {
    return this.#live.reduce((sum, ordinal) => sum + this.#view.packs[ordinal]!.bytes, 0)
  }

  /** Large enough for blobs to get a pack of their own. */
  #isLarge(): boolean {
    return this.#bytes() >= (this.#deps.splitBytes ?? smallBytes)
  }

  /** All packs there are come from one collection. */
  #isCollected(): boolean {
    const packs = this.#live.map((ordinal) => this.#view.packs[ordinal]!)
    return packs.every(({ collected, updateId }) => collected && updateId === packs[0]!.updateId)
  }

  /** @throws HubError `conflict` */
  #checkUnreached(oids: readonly Oid[], marks: Classified['marks']): void {
    for (const oid of oids) {
      const entry = this.#view.find(oidBytes(oid), 'read')
      const mark = entry === -1 ? unreached : marks[packOf(entry)]![rankOf(entry)]
      if (mark !== unreached && mark !== passedOver) throw new HubError('conflict', `a branch, tag or other ref still leads to ${oid}`)
    }
  }

  /** The new packs, stored, and still invisible. To be disposed of. */
  async #write(classified: Classified, { rescues, purge }: { readonly rescues: boolean; readonly purge: boolean }): Promise<AddedPack[]> {
    const { packs, copyPack } = this.#deps
    const { marks, counts, roots, blobs } = classified
    const { commit, tree, tag, blob } = objectTypes
    const crcs = await this.#readCrcs(marks)
    const added: AddedPack[] = []
    const add = async (
      visibility: AddedPack['visibility'],
      selection: Omit<Selection, 'marks'>,
      connections: StageCopiedRequest['connections'],
      part?: PackPart,
    ): Promise<void> => {
      if (counts[selection.mark] === 0) return
      const copied = copyPack(this.#view, { selection: { marks, ...selection }, crcs }, this.#options)
      const staged = await packs.stageCopied(copied, { updateId: randomUUID(), connections })
      added.push({ staged, visibility, ...(part && staged.pack ? { part } : {}) })
      await staged.publish()
    }
    try {
      // Blobs that were garbage cannot be relied on by a pack that has them not.
      if (this.#isLarge() && !rescues) {
        await add(0, { mark: markOfClass(0), types: [commit, tree, tag] }, { roots, external: blobs }, 'meta')
        await add(0, { mark: markOfClass(0), types: [blob] }, { roots: null, external: false }, 'blobs')
      } else {
        await add(0, { mark: markOfClass(0) }, { roots, external: false })
      }
      for (const visibility of [1, 2] as const) await add(visibility, { mark: markOfClass(visibility) }, unknownConnections)
      if (!purge) await add(3, { mark: unreached }, unknownConnections)
      return added
    } catch (error) {
      await disposeAll(added)
      throw error
    }
  }

  /** Of all packs that something is taken of. */
  #readCrcs(marks: Classified['marks']): Promise<StoredCrcs> {
    const ordinals = [...marks.keys()].filter((ordinal) => marks[ordinal]!.some((mark) => mark !== passedOver))
    return readStoredCrcs(this.#deps, this.#view, ordinals, this.#options.slices)
  }

  /** In one transaction, under which nothing was pushed since it was last looked at what was pushed. */
  async #exchange(added: readonly AddedPack[], { marks, counts }: Classified, { expired, purge, retired }: Exchange): Promise<ReplaceOutcome> {
    let expected = { refsVer: this.#refsVer, packsVer: this.#view.versions.packsVer }
    try {
      for (let looks = 0; looks < maxLooks; looks++) {
        const outcome = await replacePacks(this.#deps, {
          repoId: this.#repoId,
          retired: retired.map((ordinal) => this.#view.packs[ordinal]!.id),
          added: added.filter(({ staged }) => staged.pack),
          gcEpoch: this.#view.versions.gcEpoch,
          expected,
          epochChanged: counts[unreached]! + counts[markOfClass(2)]! > 0,
          purged: purge,
          also: async (tx) => {
            await retireGarbage(tx, this.#repoId, expired, expected.packsVer + 1)
            if (purge) this.#freed.push(...(await stripRetiredPacks(tx, this.#repoId)), ...(await deleteSharedAnswersOf(tx, this.#repoId)))
            await markCollected(tx, this.#repoId, this.#refsVer)
          },
        })
        if (outcome !== 'changed') return outcome
        const now = await this.#covered(marks)
        if (!now) return 'stale'
        expected = now
      }
      return 'stale'
    } finally {
      await disposeAll(added)
    }
  }

  /** The versions of the repository as it is by now, if all that refs lead to stays; undefined: it would not. */
  async #covered(marks: Classified['marks']): Promise<{ readonly refsVer: number; readonly packsVer: number } | undefined> {
    const { covers } = this.#deps
    const { view, refs, refsVer } = await openWithRefs(this.#deps, this.#repoId)
    try {
      const before = new Map(this.#view.packs.map((pack, ordinal) => [pack.id, marks[ordinal]!]))
      const tips = [...new Set(refs.map(({ oid }) => oidFromBytes(oid)))]
      // Garbage that came meanwhile was not looked at: a purge has to see it.
      if (view.packs.some((pack) => pack.class === 3 && !before.has(pack.id))) return undefined
      const kept = view.packs.map(({ id }) => before.get(id))
      return (await covers(view, tips, kept, this.#options)) ? { refsVer, packsVer: view.versions.packsVer } : undefined
    } finally {
      view.release()
    }
  }
}

interface Exchange {
  /** Ids of garbage packs. */
  readonly expired: readonly number[]
  readonly purge: boolean
  /** Ordinals. */
  readonly retired: readonly number[]
}

async function disposeAll(added: readonly AddedPack[]): Promise<void> {
  for (const { staged } of added) await staged.dispose()
}
