import { EntryList } from './entry-list.js'
import { EntryMarks } from './entry-marks.js'
import { History } from './history.js'
import type { Entry, PackRequest, PackView, WorkOptions } from './ports.js'
import { PriorityQueue } from './priority-queue.js'
import { TreeWalk } from './tree-walk.js'
import { objectTypes, type Oid } from './types.js'

/** What an object is found to be. */
export const objectBits = {
  /** To be sent. */
  included: 1,
  /** The client has it, and all it refers to. */
  had: 2,
  /** Came up in the walk over the commits. */
  seen: 4,
  /** Stands in the queue of that walk. */
  queued: 8,
} as const

/** The objects of an answer, each once by name. */
export interface ObjectSet {
  readonly count: number
  /** Newest first, as far as clocks tell. */
  readonly commits: EntryList
  readonly tags: EntryList
  /** In pack order. */
  readonly trees: EntryList
  readonly blobs: EntryList
  /** `objectBits` of every object. */
  readonly marks: EntryMarks
}

/** Commits that are looked at beyond the point where all seem to be had: some clocks are wrong. */
const slop = 5

/**
 * Everything reachable from the wants and not from the haves. Something the client has may be among it; nothing is left out that it needs.
 * @throws ProtocolError `corrupt` when an object is missing, `cancelled`
 */
export async function enumerateObjects(view: PackView, request: PackRequest, options: WorkOptions): Promise<ObjectSet> {
  const enumeration = new Enumeration(view, options)
  for (const oid of request.haves) await enumeration.have(oid)
  for (const oid of request.wants) await enumeration.want(oid)
  await enumeration.walkCommits()
  await enumeration.walkTrees()
  if (request.includeTag) await enumeration.includeTags()
  return enumeration.finish()
}

class Enumeration {
  readonly #view: PackView
  readonly #options: WorkOptions
  readonly #history: History
  readonly #marks: EntryMarks
  readonly #queue = new PriorityQueue<Entry>()
  /** Queued commits that are not had. */
  #open = 0
  readonly #found = new EntryList()
  readonly #commits = new EntryList()
  readonly #tags = new EntryList()
  readonly #edges = new EntryList()
  readonly #wantedTrees = new EntryList()
  readonly #walk: TreeWalk

  constructor(view: PackView, options: WorkOptions) {
    this.#view = view
    this.#options = options
    this.#history = new History(view, options.slices)
    this.#marks = new EntryMarks(view)
    this.#walk = new TreeWalk(this.#history, this.#marks, (done) =>
      options.onProgress?.({ title: 'Enumerating objects', done: done + this.#commits.length, total: 0 }),
    )
  }

  async want(oid: Oid): Promise<void> {
    let entry = this.#history.get(oid)
    while (this.#view.typeOf(entry) === objectTypes.tag) {
      this.#addTag(entry)
      entry = await this.#history.tagTarget(entry)
    }
    const type = this.#view.typeOf(entry)
    if (type === objectTypes.commit) await this.#enqueue(entry, 0)
    else if (type === objectTypes.tree) this.#wantedTrees.push(entry)
    else this.#walk.includeBlob(entry)
  }

  async have(oid: Oid): Promise<void> {
    let entry = this.#history.find(oid)
    while (entry !== -1 && this.#view.typeOf(entry) === objectTypes.tag) {
      this.#marks.add(entry, objectBits.had)
      entry = await this.#history.tagTarget(entry)
    }
    if (entry === -1) return
    const type = this.#view.typeOf(entry)
    if (type === objectTypes.commit) await this.#enqueue(entry, objectBits.had)
    else if (type === objectTypes.tree) await this.#walk.markHad(entry)
    else this.#marks.add(entry, objectBits.had)
  }

  /** Newest first, until all that is left is had; then what was found and turned out to be had is left out again. */
  async walkCommits(): Promise<void> {
    const marks = this.#marks
    let left = slop
    let oldestFound = Number.POSITIVE_INFINITY
    for (let entry = this.#queue.pop(); entry !== undefined; entry = this.#queue.pop()) {
      const pause = this.#options.slices.pause()
      if (pause) await pause
      const { parents, seconds } = await this.#history.commit(entry)
      marks.add(entry, objectBits.seen)
      const had = (marks.get(entry) & objectBits.had) !== 0
      if (had) {
        for (const parent of parents) await this.#markHad(parent)
      } else {
        this.#open -= 1
        oldestFound = seconds
        this.#found.push(entry)
        for (const parent of parents) await this.#enqueue(parent, 0)
        if (this.#found.length % 1024 === 0) this.#options.onProgress?.({ title: 'Enumerating objects', done: this.#found.length, total: 0 })
      }
      if (this.#open > 0 || -this.#queue.lowestKey >= oldestFound) left = slop
      else if (--left < 0) break
    }
    for (const entry of this.#found.view()) {
      if (marks.get(entry) & objectBits.had) continue
      marks.add(entry, objectBits.included)
      this.#commits.push(entry)
    }
  }

  /** What the edge of the haves holds is had; the rest of the trees is not. */
  async walkTrees(): Promise<void> {
    const history = this.#history
    const commits = this.#commits.view()
    const edges = new EntryMarks(this.#view)
    for (const entry of commits) {
      for (const parent of (await history.commit(entry)).parents) {
        if (!(this.#marks.get(parent) & objectBits.had) || edges.get(parent)) continue
        edges.add(parent, 1)
        this.#edges.push(parent)
      }
      const pause = this.#options.slices.pause()
      if (pause) await pause
    }
    for (const entry of this.#edges.view()) {
      const { tree } = await history.commit(entry)
      if (tree !== -1) await this.#walk.markHad(tree)
    }
    for (const entry of commits) await this.#walk.include(history.tree((await history.commit(entry)).tree, entry))
    for (const entry of this.#wantedTrees.view()) await this.#walk.include(entry)
  }

  /** Tags of what is sent come with it. */
  async includeTags(): Promise<void> {
    const history = this.#history
    for (const { oid, peeled } of this.#view.refs.list) {
      if (peeled === undefined) continue
      const target = history.find(peeled)
      if (target === -1 || !(this.#marks.get(target) & objectBits.included)) continue
      for (let entry = history.get(oid); this.#view.typeOf(entry) === objectTypes.tag; entry = await history.tagTarget(entry)) this.#addTag(entry)
    }
  }

  finish(): ObjectSet {
    const { trees, blobs } = this.#walk
    trees.sort()
    blobs.sort()
    const count = this.#commits.length + this.#tags.length + trees.length + blobs.length
    this.#options.onProgress?.({ title: 'Enumerating objects', done: count, total: 0 })
    return { count, commits: this.#commits, tags: this.#tags, trees, blobs, marks: this.#marks }
  }

  #addTag(entry: Entry): void {
    if (this.#marks.get(entry) & (objectBits.included | objectBits.had)) return
    this.#marks.add(entry, objectBits.included)
    this.#tags.push(entry)
  }

  async #enqueue(entry: Entry, bits: number): Promise<void> {
    if (bits & objectBits.had) return this.#markHad(entry)
    if (this.#marks.get(entry) & objectBits.queued) return
    this.#marks.add(entry, objectBits.queued)
    if (!(this.#marks.get(entry) & objectBits.had)) this.#open += 1
    this.#queue.push(-(await this.#history.commit(entry)).seconds, entry)
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
        for (const parent of (await this.#history.commit(entry)).parents) stack.push(parent)
      } else if (bits & objectBits.queued) {
        this.#open -= 1
      } else {
        await this.#enqueue(entry, 0)
      }
    }
  }
}
