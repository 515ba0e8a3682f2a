import { enumerateByBitmaps, type ReachBitmaps } from './bitmap/enumerate-by-bitmaps.js'
import { CommitColumns } from './commit-columns.js'
import { EntryList } from './entry-list.js'
import { EntryMarks } from './entry-marks.js'
import type { CommitGraph } from './graph/commit-graph.js'
import { History, type HistoryCommit } from './history.js'
import { objectBits } from './object-bits.js'
import { wholeFilter } from './object-filter.js'
import type { ObjectSet } from './object-set.js'
import type { Boundary, Entry, GivenPacks, ObjectFilter, PackRequest, PackView, WorkOptions } from './ports.js'
import { PriorityQueue } from './priority-queue.js'
import { TreeEdges } from './tree-edges.js'
import { TreeWalk } from './tree-walk.js'
import { objectTypes, type Oid } from './types.js'

/** Commits that are looked at beyond the point where all seem to be had: some clocks are wrong. */
const slop = 5

/** Up to here a fetch costs what its commits changed; beyond, a walk of all the client has is cheaper, and nothing had is sent. */
const fewCommits = 250

/**
 * Haves of a shallow client whose trees are held against what is sent: its history and ours seldom meet by parents. More would cost more
 * than they spare.
 */
const maxCutEdges = 64

/**
 * Everything reachable from the wants and not from the haves. Something the client has may be among it; nothing is left out that it needs.
 * Bitmaps spare most of the walk where much is to be sent.
 * @throws ProtocolError `corrupt` when an object is missing, `cancelled`
 */
export async function enumerateObjects(
  view: PackView,
  request: PackRequest,
  options: WorkOptions,
  { bitmaps, graph }: KnownHistory = {},
): Promise<ObjectSet> {
  const usable = mayUseBitmaps(request) ? bitmaps : undefined
  if (usable && request.haves.length === 0) return enumerateByBitmaps(view, request, options, usable)
  const enumeration = new Enumeration(view, options, graph)
  if (request.boundary) await enumeration.cut(request.boundary)
  for (const oid of request.haves) await enumeration.have(oid)
  for (const oid of request.wants) await enumeration.want(oid)
  if (!(await enumeration.walkCommits(usable ? fewCommits : Number.POSITIVE_INFINITY)) && usable)
    return enumerateByBitmaps(view, request, options, usable)
  await enumeration.walkTrees(request.filter)
  if (request.includeTag) await enumeration.includeTags()
  return enumeration.finish()
}

/** Where more commits than this came since, the packs that are given are no great help. */
const maxCommitsBeyond = 10_000

/**
 * Everything reachable from the wants that is not in the packs given, and nothing that is. Undefined: the wants do not lead to all that is in
 * these, or to too much beside it. The request has no haves and no boundary.
 * @throws ProtocolError `corrupt` when an object is missing, `cancelled`
 */
export async function enumerateBeyond(view: PackView, request: PackRequest, given: GivenPacks, options: WorkOptions): Promise<ObjectSet | undefined> {
  const enumeration = new Enumeration(view, options)
  enumeration.give(given.packs)
  for (const oid of request.wants) await enumeration.want(oid)
  if (!(await enumeration.walkCommits(maxCommitsBeyond))) return undefined
  if (!enumeration.meets(given.roots, request)) return undefined
  await enumeration.walkTrees(request.filter)
  if (request.includeTag) await enumeration.includeTags()
  return enumeration.finish()
}

/** What is known of a view from before. */
export interface KnownHistory {
  readonly bitmaps?: ReachBitmaps | undefined
  /** Of some commits, which are not read then. */
  readonly graph?: CommitGraph | undefined
}

/** They know nothing of histories that are cut, nor of what is left out. */
export const mayUseBitmaps = ({ boundary, filter }: PackRequest): boolean => !boundary && !filter

class Enumeration {
  readonly #view: PackView
  readonly #options: WorkOptions
  readonly #history: History
  readonly #marks: EntryMarks
  /** What the walk over the commits came upon; the queue holds its numbers. */
  readonly #known = new CommitColumns()
  readonly #queue = new PriorityQueue<number>()
  /** Queued commits that are not had. */
  #open = 0
  /** Numbers of commits that were not had when they came up. */
  readonly #found = new EntryList()
  readonly #commits = new EntryList()
  readonly #tags = new EntryList()
  readonly #hadTrees = new EntryList()
  readonly #sentTrees = new EntryList()
  /** Wanted by name, not for a commit's sake. */
  readonly #namedTrees = new EntryList()
  readonly #walk: TreeWalk
  #edgesLeft = 0
  /** What is had is sent as well, beside the answer. */
  #given = false

  constructor(view: PackView, options: WorkOptions, graph?: CommitGraph) {
    this.#view = view
    this.#options = options
    this.#history = new History(view, options.slices, graph)
    this.#marks = new EntryMarks(view)
    this.#walk = new TreeWalk(this.#history, this.#marks, (done) => this.#report(done + this.#commits.length))
  }

  /** Where histories end. Before anything is had or wanted. */
  async cut({ shallow, unshallow }: Boundary): Promise<void> {
    this.#edgesLeft = maxCutEdges
    for (const oid of shallow) {
      this.#marks.add(this.#history.get(oid), objectBits.shallow)
      await this.#pause()
    }
    for (const oid of unshallow) {
      const entry = this.#history.get(oid)
      await this.#markHad(entry)
      await this.#addEdge(entry)
      for (const parent of (await this.#history.commit(entry)).parents) await this.#enqueue(parent)
    }
  }

  /** All that is in these packs is had, wherever it lies. Before anything is wanted. */
  give(packs: readonly number[]): void {
    this.#given = true
    for (const pack of packs) this.#marks.fill(pack, objectBits.had)
  }

  /** Whether the walk over commits came to all of these, or they come along as tags do. */
  meets(roots: readonly Oid[], { wants, includeTag }: PackRequest): boolean {
    const wanted = new Set(wants)
    if (includeTag) for (const { oid, peeled } of this.#view.refs.list) if (peeled !== undefined) wanted.add(oid)
    return roots.every((oid) => wanted.has(oid) || this.#marks.get(this.#history.get(oid)) & objectBits.queued)
  }

  async want(oid: Oid): Promise<void> {
    let entry = this.#history.get(oid)
    while (this.#view.typeOf(entry) === objectTypes.tag) {
      this.#addTag(entry)
      entry = await this.#history.tagTarget(entry)
      this.#marks.add(entry, objectBits.named)
    }
    const type = this.#view.typeOf(entry)
    if (type === objectTypes.commit) await this.#enqueue(entry)
    else if (type === objectTypes.tree) this.#namedTrees.push(entry)
    else this.#walk.includeBlob(entry)
    await this.#pause()
  }

  async have(oid: Oid): Promise<void> {
    let entry = this.#history.find(oid)
    while (entry !== -1 && this.#view.typeOf(entry) === objectTypes.tag) {
      this.#marks.add(entry, objectBits.had)
      entry = await this.#history.tagTarget(entry)
    }
    if (entry === -1) return
    const type = this.#view.typeOf(entry)
    if (type === objectTypes.commit) {
      await this.#markHad(entry)
      if (this.#edgesLeft-- > 0) await this.#addEdge(entry)
    } else if (type === objectTypes.tree) this.#hadTrees.push(entry)
    else this.#marks.add(entry, objectBits.had)
    await this.#pause()
  }

  /**
   * Newest first, until all that is left is had; then what was found and turned out to be had is left out again. False: given up, because more
   * than `most` were found.
   */
  async walkCommits(most: number): Promise<boolean> {
    const marks = this.#marks
    const known = this.#known
    let left = slop
    let oldestFound = Number.POSITIVE_INFINITY
    for (let commit = this.#queue.pop(); commit !== undefined; commit = this.#queue.pop()) {
      const pause = this.#options.slices.pause()
      if (pause) await pause
      const entry = known.entryOf(commit)
      marks.add(entry, objectBits.seen)
      // A copy: what is enqueued is added to the columns.
      const parents = known.parentsOf(commit).slice()
      if (marks.get(entry) & objectBits.had) {
        for (const parent of parents) await this.#markHad(parent)
      } else {
        this.#open -= 1
        oldestFound = known.secondsOf(commit)
        this.#found.push(commit)
        if (this.#found.length > most) return false
        for (const parent of parents) {
          marks.add(parent, objectBits.named)
          await this.#enqueue(parent)
        }
        if (this.#found.length % 1024 === 0) this.#report(this.#found.length)
      }
      if (this.#open > 0 || -this.#queue.lowestKey >= oldestFound) left = slop
      else if (--left < 0) break
    }
    for (const commit of this.#found.view()) await this.#include(commit)
    return true
  }

  /** A commit that was found, unless it turned out to be had; its tree, and where the client's part begins. */
  async #include(commit: number): Promise<void> {
    const entry = this.#known.entryOf(commit)
    if (this.#marks.get(entry) & objectBits.had) return
    this.#marks.add(entry, objectBits.included)
    this.#commits.push(entry)
    this.#sentTrees.push(this.#history.tree(this.#known.treeOf(commit), entry))
    for (const parent of this.#known.parentsOf(commit)) {
      if (!this.#given && this.#marks.get(parent) & objectBits.had) await this.#addEdge(parent)
    }
  }

  async #addEdge(commit: Entry): Promise<void> {
    if (this.#marks.get(commit) & objectBits.edge) return
    this.#marks.add(commit, objectBits.edge)
    const { tree } = await this.#history.commit(commit)
    if (tree !== -1) this.#hadTrees.push(tree)
    await this.#pause()
  }

  /** What the edge of the haves holds is had; the rest of the trees is not. */
  async walkTrees(filter: ObjectFilter = wholeFilter): Promise<void> {
    const trees = new EntryList()
    for (const list of [this.#namedTrees, this.#sentTrees]) for (const tree of list.view()) trees.push(tree)
    // Where no tree is sent, or none is had, there is nothing to hold against each other.
    if (filter.treeDepth === 0 && this.#namedTrees.length === 0) return
    if (this.#commits.length <= fewCommits) await new TreeEdges(this.#history, this.#marks).mark(this.#hadTrees, trees)
    else await this.#walk.markHad(this.#hadTrees)
    await this.#walk.include(this.#namedTrees, this.#sentTrees, filter)
  }

  /** Tags of what is sent come with it. */
  async includeTags(): Promise<void> {
    const history = this.#history
    for (const { oid, peeled } of this.#view.refs.list) {
      await this.#pause()
      if (peeled === undefined) continue
      const target = history.find(peeled)
      const sent = this.#given ? objectBits.included | objectBits.had : objectBits.included
      if (target === -1 || !(this.#marks.get(target) & sent)) continue
      for (let entry = history.get(oid); this.#view.typeOf(entry) === objectTypes.tag; entry = await history.tagTarget(entry)) this.#addTag(entry)
    }
  }

  finish(): ObjectSet {
    const { trees, blobs } = this.#walk
    trees.sort()
    blobs.sort()
    const count = this.#commits.length + this.#tags.length + trees.length + blobs.length
    this.#report(count)
    const find: ObjectSet['find'] = (oid) => this.#view.find(oid, 'read')
    return { count, commits: this.#commits, tags: this.#tags, trees, blobs, marks: this.#marks, history: this.#known, find }
  }

  #addTag(entry: Entry): void {
    if (this.#marks.get(entry) & (objectBits.included | objectBits.had)) return
    this.#marks.add(entry, objectBits.included)
    this.#tags.push(entry)
  }

  async #enqueue(entry: Entry): Promise<void> {
    if (this.#marks.get(entry) & objectBits.queued) return
    this.#marks.add(entry, objectBits.queued)
    if (!(this.#marks.get(entry) & objectBits.had)) this.#open += 1
    const commit = this.#known.add(entry, await this.#commit(entry))
    this.#queue.push(-this.#known.secondsOf(commit), commit)
  }

  /** The commit is had, and so is what is known of its ancestors; the rest of them follows in the walk. */
  async #markHad(start: Entry): Promise<void> {
    const marks = this.#marks
    const stack = new EntryList()
    stack.push(start)
    for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
      const bits = marks.get(entry)
      if (bits & objectBits.had) continue
      marks.add(entry, objectBits.had)
      if (bits & objectBits.seen) {
        for (const parent of (await this.#commit(entry)).parents) stack.push(parent)
        await this.#pause()
      } else if (bits & objectBits.queued) {
        this.#open -= 1
      } else {
        await this.#enqueue(entry)
      }
    }
  }

  /** A commit as the client sees it. */
  async #commit(entry: Entry): Promise<HistoryCommit> {
    const commit = await this.#history.commit(entry)
    return this.#marks.get(entry) & objectBits.shallow ? { ...commit, parents: [] } : commit
  }

  #report(done: number): void {
    this.#options.onProgress?.({ title: 'Enumerating objects', done, total: 0 })
  }

  #pause(): Promise<void> | undefined {
    return this.#options.slices.pause()
  }
}
