import { ProtocolError } from '../errors.js'
import { oidFromBytes } from '../oid.js'
import { objectTypes, type Oid } from '../types.js'
import type { PackIndex } from './pack-index.js'

/** Folders within one another, as `core.maxTreeDepth` of git: deeper ones it neither lists nor checks out. */
export const maxTreeDepth = 2048

/**
 * How deep the trees of a pack lie in one another, each by the tree that was the first to name it. That costs next to nothing and finds what
 * comes about by accident; whoever goes to lengths to be passed over (one tree at two depths, one push a part) gets a repository that git
 * refuses to clone, and harms nobody else.
 */
export class TreeDepths {
  readonly #index: PackIndex
  /** By rank of a tree: rank of the tree, commit or tag that names it, -1: none that is known. */
  readonly #parents: Int32Array

  private constructor(index: PackIndex) {
    this.#index = index
    this.#parents = new Int32Array(index.count).fill(-1)
  }

  /** Undefined: the pack has too few trees to go too deep. */
  static of(index: PackIndex): TreeDepths | undefined {
    let trees = 0
    for (let rank = 0; rank < index.count && trees <= maxTreeDepth; rank++) if (isTree(index, rank)) trees += 1
    return trees > maxTreeDepth ? new TreeDepths(index) : undefined
  }

  /** The tree at `rank` is named by the object at `from`. */
  put(rank: number, from: number): void {
    if (from < this.#parents.length) this.#parents[rank] = from
  }

  /** @throws ProtocolError `too-large` */
  check(): void {
    const parents = this.#parents
    // Zero: a root, or not known yet.
    const depths = new Uint16Array(parents.length)
    for (let rank = 0; rank < parents.length; rank++) {
      if (parents[rank] === -1 || depths[rank] !== 0) continue
      // Up to what is known or has nothing above it, and down again. No tree can hold itself, so this ends.
      let steps = 0
      let at = rank
      for (; parents[at] !== -1 && depths[at] === 0; at = parents[at]!) steps += 1
      let depth = steps + depths[at]! - (isTree(this.#index, at) ? 0 : 1)
      if (depth > maxTreeDepth) throw tooDeep(oidFromBytes(this.#index.oids, rank * 20), depth)
      for (at = rank; steps > 0; at = parents[at]!, steps--) depths[at] = depth--
    }
  }
}

const tooDeep = (tree: Oid, depth: number): ProtocolError =>
  new ProtocolError('too-large', `tree ${tree} lies ${depth} folders deep, git reads no more than ${maxTreeDepth}`)

const isTree = ({ types }: PackIndex, rank: number): boolean => (types[rank]! & 7) === objectTypes.tree
