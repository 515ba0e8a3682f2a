import { ProtocolError } from './errors.js'
import type { CommitGraph } from './graph/commit-graph.js'
import { knownCommit } from './graph/known-commit.js'
import { commitLinks } from './objects/commit.js'
import { oidFromBytes } from './oid.js'
import { createObjectReader, type ObjectReader } from './pack/reader.js'
import type { Entry, PackView, Slices } from './ports.js'
import { objectTypeNames, objectTypes, type Oid } from './types.js'

export interface HistoryCommit {
  /** -1: the tree is missing; whoever needs it says so by `present`. */
  readonly tree: Entry
  readonly parents: readonly Entry[]
  /** When it was committed, seconds since 1970, or what the commit claims. */
  readonly seconds: number
}

/** Commits and tags of a view as entries. The store is closed: what an object refers to is there, and if not, it is corrupt. */
export class History {
  readonly view: PackView
  /** What it reads is valid until it reads the next. */
  readonly reader: ObjectReader
  readonly slices: Slices
  readonly #scratch = Buffer.alloc(20)

  readonly #graph: CommitGraph | undefined

  /** `graph`: of some of the commits, which are not read then. */
  constructor(view: PackView, slices: Slices, graph?: CommitGraph) {
    this.view = view
    this.#graph = graph
    this.reader = createObjectReader(view, { transient: true })
    this.slices = slices
  }

  /** Entry of an object, or -1. */
  find(oid: Oid): Entry {
    this.#scratch.write(oid, 'hex')
    return this.view.find(this.#scratch, 'read')
  }

  /** @throws ProtocolError `corrupt` when there is none */
  get(oid: Oid): Entry {
    const entry = this.find(oid)
    if (entry === -1) throw new ProtocolError('corrupt', `object ${oid} is missing`)
    return entry
  }

  /** @throws ProtocolError `corrupt` */
  async commit(entry: Entry): Promise<HistoryCommit> {
    const known = this.#graph && knownCommit(this.view, this.#graph, entry, this.#scratch)
    if (known) return known
    const { data } = this.reader.readNow(entry) ?? (await this.reader.read(entry))
    const { tree, parents, seconds } = commitLinks(data)
    return { tree: this.find(tree), parents: parents.map((oid) => this.#typed(this.get(oid), objectTypes.commit)), seconds }
  }

  /** @throws ProtocolError `corrupt` unless it is there and a tree */
  tree(entry: Entry, commit: Entry): Entry {
    if (entry === -1) throw new ProtocolError('corrupt', `the tree of commit ${this.oidOf(commit)} is missing`)
    return this.#typed(entry, objectTypes.tree)
  }

  /** What a tag names: another tag, perhaps. Reads the first line only, whatever else is odd about old tags. */
  async tagTarget(entry: Entry): Promise<Entry> {
    const { data } = await this.reader.read(entry)
    const line = Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, 48)).toString('latin1')
    const oid = /^object ([0-9a-f]{40})\n$/.exec(line)?.[1]
    if (oid === undefined) throw new ProtocolError('corrupt', `tag ${this.oidOf(entry)} names no object`)
    return this.get(oid as Oid)
  }

  /** What a tag finally names; anything else is that itself. @throws ProtocolError `corrupt` */
  async peel(entry: Entry): Promise<Entry> {
    let target = entry
    while (this.view.typeOf(target) === objectTypes.tag) target = await this.tagTarget(target)
    return target
  }

  oidOf(entry: Entry): Oid {
    this.view.oidOf(entry, this.#scratch)
    return oidFromBytes(this.#scratch)
  }

  #typed(entry: Entry, type: 1 | 2): Entry {
    if (this.view.typeOf(entry) !== type) throw new ProtocolError('corrupt', `object ${this.oidOf(entry)} is not a ${objectTypeNames[type]}`)
    return entry
  }
}
