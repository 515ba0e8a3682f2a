import { EntryMarks } from './entry-marks.js'
import { EntryList } from './entry-list.js'
import { ProtocolError } from './errors.js'
import { History } from './history.js'
import type { Deepen, DeepenLimit, Entry, PackView, WorkOptions } from './ports.js'
import { objectTypes, type Oid } from './types.js'

const seen = 1
/** The client gets it with its parents. */
const inside = 2
/** The client gets it without them. */
const border = 4
const excluded = 8
const met = 16

/**
 * Where the history of `tips` ends when it is cut as asked: commits the client is to keep without their parents from now on, and those of
 * its shallow commits that get their parents. The rules are git's, down to this: a commit at the last step of a depth is shallow whether
 * or not it has parents. Only where the way to one border is cut by another does git name both: it sends one, and its client is stuck with
 * the other. Wrong clocks make `since` stop early on a path, never go on.
 * @throws ProtocolError `bad-request` when a date or a ref leaves nothing, `corrupt`, `cancelled`
 */
export const deepen: Deepen = async (view, { tips, shallow, limit }, options) => {
  const walk = new DeepenWalk(view, options)
  const starts = await walk.commitsOf(tips)
  const ends = limit.kind === 'depth' ? await walk.byDepth(starts, limit.depth) : await walk.byRevisions(starts, limit)
  return walk.change(ends, shallow)
}

class DeepenWalk {
  readonly #history: History
  readonly #marks: EntryMarks

  constructor(view: PackView, { slices }: WorkOptions) {
    this.#history = new History(view, slices)
    this.#marks = new EntryMarks(view)
  }

  /** What tips are or finally name, as far as it is a commit. */
  async commitsOf(oids: readonly Oid[]): Promise<EntryList> {
    const commits = new EntryList()
    for (const oid of oids) {
      const entry = await this.#history.peel(this.#history.get(oid))
      if (this.#history.view.typeOf(entry) === objectTypes.commit) commits.push(entry)
      const pause = this.#history.slices.pause()
      if (pause) await pause
    }
    return commits
  }

  /** Step by step, so that each commit is met on its shortest way. */
  async byDepth(starts: EntryList, depth: number): Promise<EntryList> {
    let level = this.#unseen(starts.view())
    for (let step = 1; step < depth && level.length > 0; step++) {
      const next = new EntryList()
      for (const commit of level.view()) {
        this.#marks.add(commit, inside)
        for (const parent of await this.#parents(commit)) this.#see(parent, next)
      }
      level = next
    }
    for (const commit of level.view()) this.#marks.add(commit, border)
    return level
  }

  async byRevisions(starts: EntryList, { since = 0, not }: Extract<DeepenLimit, { kind: 'revisions' }>): Promise<EntryList> {
    await this.#exclude(await this.commitsOf(not))
    const kept = new EntryList()
    const stack = this.#unseen(starts.view())
    for (let commit = stack.pop(); commit !== undefined; commit = stack.pop()) {
      if (this.#marks.get(commit) & excluded) continue
      const { seconds, parents } = await this.#read(commit)
      if (seconds < since) continue
      this.#marks.add(commit, inside)
      kept.push(commit)
      for (const parent of parents) this.#see(parent, stack)
    }
    if (kept.length === 0) throw new ProtocolError('bad-request', 'no commits selected for shallow requests')
    const ends = new EntryList()
    for (const commit of kept.view()) {
      if ((await this.#parents(commit)).every((parent) => this.#marks.get(parent) & inside)) continue
      ends.push(commit)
    }
    // Only now: a commit between two others would seem to be left out.
    for (const commit of ends.view()) this.#marks.add(commit, border)
    return this.#metFrom(starts)
  }

  /** Of the border, what is still met on a way from the starts that no other commit of the border cuts. */
  async #metFrom(starts: EntryList): Promise<EntryList> {
    const ends = new EntryList()
    const stack = new EntryList()
    for (const start of starts.view()) stack.push(start)
    for (let commit = stack.pop(); commit !== undefined; commit = stack.pop()) {
      const bits = this.#marks.get(commit)
      if (bits & met || !(bits & inside)) continue
      this.#marks.add(commit, met)
      if (bits & border) ends.push(commit)
      else for (const parent of await this.#parents(commit)) stack.push(parent)
    }
    return ends
  }

  change(ends: EntryList, clientShallow: readonly Oid[]): { readonly shallow: readonly Oid[]; readonly unshallow: readonly Oid[] } {
    const known = new Set(clientShallow)
    return {
      shallow: Array.from(ends.view(), (commit) => this.#history.oidOf(commit)).filter((oid) => !known.has(oid)),
      unshallow: clientShallow.filter((oid) => (this.#marks.get(this.#history.get(oid)) & (inside | border)) === inside),
    }
  }

  async #exclude(starts: EntryList): Promise<void> {
    const stack = new EntryList()
    for (const start of starts.view()) stack.push(start)
    for (let commit = stack.pop(); commit !== undefined; commit = stack.pop()) {
      if (this.#marks.get(commit) & excluded) continue
      this.#marks.add(commit, excluded)
      for (const parent of await this.#parents(commit)) stack.push(parent)
    }
  }

  #unseen(commits: Iterable<Entry>): EntryList {
    const list = new EntryList()
    for (const commit of commits) this.#see(commit, list)
    return list
  }

  #see(commit: Entry, list: EntryList): void {
    if (this.#marks.get(commit) & seen) return
    this.#marks.add(commit, seen)
    list.push(commit)
  }

  async #parents(commit: Entry): Promise<readonly Entry[]> {
    return (await this.#read(commit)).parents
  }

  async #read(commit: Entry) {
    const pause = this.#history.slices.pause()
    if (pause) await pause
    return this.#history.commit(commit)
  }
}
