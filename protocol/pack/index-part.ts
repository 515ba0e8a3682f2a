import type { HeldState } from './held-entries.js'
import type { IndexLimits } from './index-limits.js'
import type { ColumnsState } from './pack-columns.js'

/** Smaller packs are done before another thread has heard of them. */
export const minSharedCount = 10_000

const words = { news: 0, scanned: 1, over: 2, next: 3, deltas: 4 } as const
/** Roots that a thread takes at once. */
const rootsAtOnce = 512
/** How often a thread that waits looks whether it is still wanted. */
const waitMs = 500

/** What the thread that scans says to the one that helps, in shared memory. */
export class SharedProgress {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array<SharedArrayBuffer>
  /** Where the entries end. */
  readonly #end: Float64Array

  constructor(buffer = new SharedArrayBuffer(32)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer, 8)
    this.#end = new Float64Array(buffer, 0, 1)
  }

  /** Ranks below it are there for others to see. */
  get scanned(): number {
    return Atomics.load(this.#words, words.scanned)
  }

  set scanned(count: number) {
    Atomics.store(this.#words, words.scanned, count)
    this.#tell()
  }

  /** The scan is over: roots from `next` on are there to be taken. */
  finish({ next, deltas, end }: { readonly next: number; readonly deltas: number; readonly end: number }): void {
    this.#words[words.next] = next
    this.#words[words.deltas] = deltas
    this.#end[0] = end
    Atomics.store(this.#words, words.over, 1)
    this.#tell()
  }

  /** Undefined while the scan goes on. */
  finished(): { readonly deltas: number; readonly end: number } | undefined {
    if (Atomics.load(this.#words, words.over) === 0) return undefined
    return { deltas: this.#words[words.deltas]!, end: this.#end[0]! }
  }

  /** Resolves when more than `seen` may have been scanned, and from time to time. */
  async changed(seen: number): Promise<void> {
    const news = Atomics.load(this.#words, words.news)
    if (this.scanned !== seen || this.finished()) return
    await Atomics.waitAsync(this.#words, words.news, news, waitMs).value
  }

  /** Takes the next roots, of `stated` objects; undefined: all are taken. Whichever thread is done first takes more. */
  takeRoots(stated: number): { readonly from: number; readonly to: number } | undefined {
    const from = Atomics.add(this.#words, words.next, rootsAtOnce)
    return from < stated ? { from, to: Math.min(from + rootsAtOnce, stated) } : undefined
  }

  #tell(): void {
    Atomics.add(this.#words, words.news, 1)
    Atomics.notify(this.#words, words.news)
  }
}

/** What another thread needs to help with a pack. Cloneable: shared memory. */
export interface IndexPart {
  readonly limits: IndexLimits
  /** Objects the pack states. */
  readonly stated: number
  readonly progress: SharedArrayBuffer
  readonly columns: ColumnsState
  readonly held: HeldState
}

export interface IndexPartResult {
  readonly resolved: number
  readonly references: Uint8Array
  readonly special: readonly [Uint8Array, Uint8Array]
}

/** What an object costs beside its bytes, in bytes of content. */
export const objectWork = 2048
/** Work between two yields, in bytes of content: about a millisecond. */
export const sliceWork = 128 * 1024
