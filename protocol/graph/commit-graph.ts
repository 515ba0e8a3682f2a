import { ChunkFile, type ChunkFileKind } from '../pack/chunk-file.js'
import { findOidRow, type OidRows } from '../pack/oid-rows.js'
import { readWords } from '../pack/side-file.js'

export const commitGraphKind: ChunkFileKind = { name: 'commit graph', signature: 'CGPH', extraBytes: 0 }

/** A commit in CDAT. */
export const commitBytes = 36
export const noParent = 0x70000000
/** In CDAT: the rest is a place in EDGE. There: the last parent. In GDA2: the rest is a place in GDO2. */
export const highBit = 2 ** 31

/**
 * A commit graph: what walks over history ask of commits, so that none is read for it. A row counts in the order of the oids.
 *
 *     'CGPH' · 1 · 1 · chunks · 0 · table of contents (chunk-file.ts)
 *     OIDF  fan-out 256 × u32    OIDL  oids, ascending, N × 20
 *     CDAT  N × (root tree, 20 bytes · first parent u32 · second parent u32, 0x70000000: none; bit 31: the others begin at this place of EDGE
 *           · level × 4 + bits 32-33 of the time u32 · bits 0-31 of the time u32)
 *     GDA2  N × u32: corrected date - time; bit 31: at this place of GDO2    GDO2  u64 × M
 *     EDGE  rows of second and later parents, u32 × E; bit 31: the last of a commit
 *
 * The level of a commit is one more than the highest of its parents. The corrected date is its time, or one more than the latest of its
 * parents where that is later: an ancestor's is always less.
 *
 * Spec: gitformat-commit-graph(5). Chains of graphs and Bloom filters are not read.
 */
export class CommitGraph {
  readonly count: number
  readonly #oidRows: OidRows
  readonly #commits: Buffer
  readonly #parents: Uint32Array
  readonly #edges: Uint32Array
  readonly #levels: Uint32Array
  readonly #seconds: Float64Array
  readonly #heights: Float64Array

  private constructor(file: ChunkFile) {
    this.#oidRows = file.oidRows()
    const { count } = this.#oidRows
    this.count = count
    this.#commits = file.chunk('CDAT', count * commitBytes)
    this.#edges = file.has('EDGE') ? wordsOf(file, 'EDGE') : new Uint32Array(0)
    this.#parents = new Uint32Array(count * 2)
    this.#levels = new Uint32Array(count)
    this.#seconds = new Float64Array(count)
    for (let row = 0; row < count; row++) {
      const at = row * commitBytes
      this.#parents[row * 2] = this.#commits.readUInt32BE(at + 20)
      this.#parents[row * 2 + 1] = this.#commits.readUInt32BE(at + 24)
      const packed = this.#commits.readUInt32BE(at + 28)
      this.#levels[row] = packed >>> 2
      this.#seconds[row] = (packed & 3) * 2 ** 32 + this.#commits.readUInt32BE(at + 32)
    }
    this.#heights = file.has('GDA2') ? this.#correctedDates(file) : Float64Array.from(this.#levels)
    this.#check(file)
  }

  /**
   * Opens a file; no lookup leaves it afterwards, and no path of parents runs in a circle. Oids and trees are not copied; beside them a
   * commit takes 28 bytes.
   * @throws ProtocolError `corrupt`
   */
  static open(bytes: Uint8Array): CommitGraph {
    return new CommitGraph(new ChunkFile(commitGraphKind, bytes))
  }

  /** Row of the oid whose 20 bytes begin at `at`, or -1. */
  findRow(oid: Uint8Array, at = 0): number {
    return findOidRow(this.#oidRows, oid, at)
  }

  /** The 20 bytes of a commit's oid. */
  oidOf(row: number): Uint8Array {
    return this.#oidRows.bytes.subarray(row * 20, row * 20 + 20)
  }

  /** The 20 bytes of its root tree's oid. */
  treeOf(row: number): Uint8Array {
    return this.#commits.subarray(row * commitBytes, row * commitBytes + 20)
  }

  /** Row of a parent, or -1. Asked for 0, 1, 2 and so on, up to the first -1. */
  parentAt(row: number, n: number): number {
    const second = this.#parents[row * 2 + 1]!
    if (n === 0 || second < highBit) {
      const parent = n < 2 ? this.#parents[row * 2 + n]! : noParent
      return parent === noParent ? -1 : parent
    }
    const at = second - highBit + n - 1
    if (n > 1 && this.#edges[at - 1]! >= highBit) return -1
    return this.#edges[at]! % highBit
  }

  /** One more than the highest of its parents; 1: it has none. */
  levelOf(row: number): number {
    return this.#levels[row]!
  }

  /** When it was committed, seconds since 1970, below 2 ** 34. */
  secondsOf(row: number): number {
    return this.#seconds[row]!
  }

  /** More than that of each of its parents: the corrected date, seconds since 1970, or the level where the file has no dates. */
  heightOf(row: number): number {
    return this.#heights[row]!
  }

  #correctedDates(file: ChunkFile): Float64Array {
    const offsets = readWords(file.chunk('GDA2', this.count * 4), 0, this.count)
    const overflow = file.has('GDO2') ? file.chunk('GDO2') : Buffer.alloc(0)
    const dates = Float64Array.from(this.#seconds)
    for (let row = 0; row < this.count; row++) {
      const offset = offsets[row]!
      if (offset < highBit) {
        dates[row]! += offset
      } else {
        const at = (offset - highBit) * 8
        if (at + 8 > overflow.length) throw file.corrupt('has a date that is nowhere')
        dates[row]! += Number(overflow.readBigUInt64BE(at))
      }
    }
    return dates
  }

  #check(file: ChunkFile): void {
    let edges = 0
    for (let row = 0; row < this.count; row++) {
      const second = this.#parents[row * 2 + 1]!
      if (second >= highBit) edges += this.#edgesFrom(file, second - highBit)
      else if (second !== noParent && this.#parents[row * 2] === noParent) throw file.corrupt('has a second parent and no first')
      // Else many commits could share one long list.
      if (edges > this.#edges.length) throw file.corrupt('has parents that belong to several commits')
      if (this.#levels[row] === 0) throw file.corrupt('has a commit without a level')
      for (let n = 0, parent = 0; (parent = this.parentAt(row, n)) !== -1; n++) {
        if (parent >= this.count) throw file.corrupt('has a parent beyond its commits')
        if (this.#levels[parent]! >= this.#levels[row]!) throw file.corrupt('has a parent that is no lower')
        if (!(this.#heights[parent]! < this.#heights[row]!)) throw file.corrupt('has a parent with no earlier date')
      }
    }
  }

  /** How many parents are listed there. */
  #edgesFrom(file: ChunkFile, from: number): number {
    let at = from
    while (at < this.#edges.length && this.#edges[at]! < highBit) at += 1
    if (at >= this.#edges.length) throw file.corrupt('has parents that are nowhere')
    return at + 1 - from
  }
}

function wordsOf(file: ChunkFile, id: string): Uint32Array {
  const chunk = file.chunk(id)
  if (chunk.length % 4 !== 0) throw file.corrupt(`has a chunk ${id} that is cut off`)
  return readWords(chunk, 0, chunk.length / 4)
}
