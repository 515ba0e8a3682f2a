import type { BlobStore } from '../../storage/blob-store.js'
import { findPair } from '../pack-pair.js'
import { readSideFile } from '../read-side-file.js'
import type { Snapshot } from '../snapshot.js'
import { openBitmaps, type LoadedBitmaps } from './open-bitmaps.js'

export interface KeptBitmapsOptions {
  readonly store: BlobStore
  /** For all of them; one that is larger is not used. */
  readonly maxBytes: number
  /** Told once of a file that is missing or wrong. The repository does without it. */
  readonly onFailed: (repoId: number, error: unknown) => void
  /** After which time it is looked for again. */
  readonly retryMs?: number
}

const maxNames = 10_000

/** Finds the bitmaps of a snapshot; undefined: there are none. Never throws. */
export type LoadBitmaps = (view: Snapshot) => Promise<LoadedBitmaps | undefined>

interface Kept {
  readonly file: Promise<Uint8Array | undefined>
  bytes: number
  readonly at: number
}

/** Bitmaps of repositories, loaded when they are first needed, in shared memory for all threads. The one used longest ago goes first. */
export class KeptBitmaps {
  readonly #options: Required<KeptBitmapsOptions>
  readonly #kept = new Map<string, Kept>()
  #bytes = 0

  constructor(options: KeptBitmapsOptions) {
    this.#options = { retryMs: 10 * 60_000, ...options }
  }

  get bytes(): number {
    return this.#bytes
  }

  readonly load: LoadBitmaps = async (view) => {
    const pair = findPair(view)
    const sha256 = pair && view.packs[pair.meta]!.sideFiles?.bitmap
    if (!pair || !sha256) return undefined
    const name = sha256.toString('hex')
    const known = this.#kept.get(name)
    const { file } = known && !this.#mayRetry(known) ? known : this.#start(name, view, { pair, sha256 })
    this.#touch(name)
    const bytes = await file
    return bytes && { pair, name, bytes }
  }

  /** What was read takes memory; what was not has its time. */
  #mayRetry({ bytes, at }: Kept): boolean {
    return bytes === 0 && performance.now() - at > this.#options.retryMs
  }

  #start(name: string, view: Snapshot, { pair, sha256 }: { readonly pair: LoadedBitmaps['pair']; readonly sha256: Uint8Array }): Kept {
    const { store, maxBytes, onFailed } = this.#options
    const read = async (): Promise<Uint8Array | undefined> => {
      try {
        const bytes = await readSideFile(store, { kind: 'bitmap', sha256, what: `bitmaps of repository ${view.repoId}`, maxBytes })
        // Here and now, so that other threads can rely on it.
        openBitmaps(view, { pair, name, bytes })
        this.#take(name, kept, bytes.length)
        return bytes
      } catch (error) {
        onFailed(view.repoId, error)
        return undefined
      }
    }
    const kept: Kept = { file: Promise.resolve().then(read), bytes: 0, at: performance.now() }
    this.#kept.set(name, kept)
    this.#shrink(kept)
    return kept
  }

  #take(name: string, kept: Kept, bytes: number): void {
    if (this.#kept.get(name) !== kept) return
    kept.bytes = bytes
    this.#bytes += bytes
    this.#shrink(kept)
  }

  /** Files that failed take no memory, but a name. */
  #shrink(newest: Kept): void {
    for (const [oldest, old] of this.#kept) {
      if (this.#bytes <= this.#options.maxBytes && this.#kept.size <= maxNames) return
      if (old === newest) continue
      this.#kept.delete(oldest)
      this.#bytes -= old.bytes
    }
  }

  #touch(name: string): void {
    const kept = this.#kept.get(name)!
    this.#kept.delete(name)
    this.#kept.set(name, kept)
  }
}
