import { encodeCommitGraph } from '../../../protocol/graph/commit-graph-writer.js'
import { rowsOfCommits } from '../../../protocol/graph/commit-rows.js'
import { objectBits } from '../../../protocol/object-bits.js'
import type { ObjectSet } from '../../../protocol/object-set.js'
import { maxRoots } from '../../../protocol/pack/connect.js'
import { enumerateObjects } from '../../../protocol/enumerate.js'
import { entryAt, packOf, rankOf, type PackView, type WorkOptions } from '../../../protocol/ports.js'
import { oidBytes, oidFromBytes } from '../../../protocol/oid.js'
import type { Oid, RefName } from '../../../protocol/types.js'
import type { RefRow } from '../../db/refs.js'
import { openKnownGraph } from './known-graph.js'

/** No ref leads there. */
export const unreached = 0
/** Marks of what refs of visibility class 0, 1 and 2 lead to: the most visible counts. */
export const markOfClass = (visibility: 0 | 1 | 2): number => visibility + 1
/** Not reached, and nothing to be kept for: garbage already, or another copy of what counts elsewhere. */
export const passedOver = 255

export interface Classified {
  /** By pack ordinal and rank, in shared memory. Of the copies of an object the one that `find` finds is marked. */
  readonly marks: readonly Uint8Array[]
  /** Objects by mark, those of `unreached` first. */
  readonly counts: readonly number[]
  /** By pack ordinal: whether a ref leads into it. */
  readonly reached: readonly boolean[]
  /**
   * What heads and tags name and no commit or tag among what they lead to does: all of that can be reached from these. Sorted oids, 20 bytes
   * each; null: too many.
   */
  readonly roots: Uint8Array | null
  /** Heads and tags lead to blobs. */
  readonly blobs: boolean
  /** Of all commits that heads and tags lead to, if it was wanted. */
  readonly commitGraph: Uint8Array | undefined
}

export interface ClassifyRequest {
  /** By visibility class: what its refs name, all of it in the repository. */
  readonly tips: readonly (readonly Oid[])[]
  /** Ordinals of the packs that are garbage. */
  readonly garbage: readonly number[]
  /** The commit graph of heads and tags is wanted as well. */
  readonly commitGraph?: boolean
  /** A commit graph from before. */
  readonly knownGraph?: Uint8Array | undefined
}

/** What refs name, by visibility class. */
export function tipsByClass(refs: readonly RefRow[], visibilityClass: (name: RefName) => 0 | 1 | 2): ClassifyRequest['tips'] {
  const tips: [Oid[], Oid[], Oid[]] = [[], [], []]
  for (const { name, oid } of refs) tips[visibilityClass(name.toString('latin1') as RefName)].push(oidFromBytes(oid))
  return tips
}

/** Marks every object by what refs lead to it. */
export type Classify = (view: PackView, request: ClassifyRequest, options: WorkOptions) => Promise<Classified>

/** @throws ProtocolError `corrupt` when something is missing, `cancelled` */
export const classify: Classify = async (view, { tips, garbage, commitGraph: wantsGraph = false, knownGraph }, options) => {
  const marks = Array.from({ length: view.packCount }, (_, pack) => new Uint8Array(new SharedArrayBuffer(view.objectsIn(pack))))
  const counts = [0, 0, 0, 0]
  const haves: Oid[] = []
  let roots: Uint8Array | null = new Uint8Array(0)
  let blobs = false
  let commitGraph: Uint8Array | undefined
  const graph = await openKnownGraph(knownGraph)
  for (const [visibility, wants] of tips.entries()) {
    if (wants.length === 0) continue
    const found = await enumerateObjects(view, { wants, haves, thinPack: false, ofsDelta: true, includeTag: false }, options, { graph })
    const mark = markOfClass(visibility as 0 | 1 | 2)
    for (const list of [found.commits, found.tags, found.trees, found.blobs])
      for (const entry of list.view()) {
        const of = marks[packOf(entry)]!
        if (of[rankOf(entry)] !== unreached) continue
        of[rankOf(entry)] = mark
        counts[mark]! += 1
      }
    haves.push(...wants)
    if (visibility > 0) continue
    roots = rootsAmong(view, wants, found)
    blobs = found.blobs.length > 0
    if (wantsGraph && found.history) commitGraph = encodeCommitGraph(rowsOfCommits(view, found.history))
  }
  const reached = marks.map((of) => of.some((mark) => mark !== unreached))
  await passOver(view, new Set(garbage), marks, counts, options)
  return { marks, counts, reached, roots, blobs, commitGraph }
}

/** Those of the tips that no commit and no tag leads to. */
function rootsAmong(view: PackView, tips: readonly Oid[], { marks }: ObjectSet): Uint8Array | null {
  const roots = [...new Set(tips)].filter((oid) => (marks.get(view.find(oidBytes(oid), 'read')) & objectBits.named) === 0)
  return roots.length > maxRoots ? null : Buffer.concat(roots.toSorted().map(oidBytes))
}

async function passOver(
  view: PackView,
  garbage: ReadonlySet<number>,
  marks: readonly Uint8Array[],
  counts: number[],
  { slices }: WorkOptions,
): Promise<void> {
  const oid = new Uint8Array(20)
  for (const [pack, of] of marks.entries()) {
    for (let rank = 0; rank < of.length; rank++) {
      if (of[rank] !== unreached) continue
      const entry = entryAt(pack, rank)
      view.oidOf(entry, oid)
      if (garbage.has(pack) || view.find(oid, 'read') !== entry) of[rank] = passedOver
      else counts[unreached]! += 1
      if ((rank & 1023) === 0) await slices.pause()
    }
  }
}
