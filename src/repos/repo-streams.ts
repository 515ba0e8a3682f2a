import type { FindPurgeEpoch } from '../db/purges.js'
import type { RepoState } from '../db/versions.js'

/** A repository, and the epoch that what is sent of it belongs to. */
export type StreamedRepo = Pick<RepoState, 'id'> & { readonly versions: Pick<RepoState['versions'], 'purgeEpoch'> }

/** One answer on its way to a client. */
export interface RepoStream {
  /** So many bytes more were sent. Now and then it is found out whether others have purged the repository. */
  passed(bytes: number): void
  /** It has ended, or was given up. */
  end(): void
}

export interface RepoStreamsOptions {
  /** Undefined: nobody else purges anything. */
  readonly findPurgeEpoch?: FindPurgeEpoch | undefined
  /** Told of a purge that was found out so; by default the streams are cut. */
  readonly onPurged?: ((repoId: number, purgeEpoch: number) => void) | undefined
  /** After so many bytes of one stream it is asked for. */
  readonly checkBytes?: number
}

interface Running {
  readonly purgeEpoch: number
  readonly cut: () => void
}

const defaultCheckBytes = 8 * 1024 * 1024
/** Purges that are remembered, for streams that begin with what was known before. */
const maxRemembered = 10_000

/** All that is being sent of repositories, whoever sends it: it is cut when something is purged from its repository. */
export class RepoStreams {
  readonly #findPurgeEpoch: FindPurgeEpoch | undefined
  readonly #onPurged: (repoId: number, purgeEpoch: number) => void
  readonly #checkBytes: number
  readonly #running = new Map<number, Set<Running>>()
  /** The newest epochs that were told of, oldest purge first. */
  readonly #purged = new Map<number, number>()

  constructor({ findPurgeEpoch, onPurged, checkBytes = defaultCheckBytes }: RepoStreamsOptions = {}) {
    this.#findPurgeEpoch = findPurgeEpoch
    this.#onPurged = onPurged ?? ((repoId, purgeEpoch) => this.cutBefore(repoId, purgeEpoch))
    this.#checkBytes = checkBytes
  }

  /** `cut` is called once at most, perhaps at once. It ends the stream, whatever is under way, and nothing more is sent. */
  begin({ id, versions: { purgeEpoch } }: StreamedRepo, cut: () => void): RepoStream {
    const running: Running = { purgeEpoch, cut }
    const all = this.#running.get(id) ?? new Set()
    this.#running.set(id, all.add(running))
    if (purgeEpoch < (this.#purged.get(id) ?? 0)) this.cutBefore(id, this.#purged.get(id)!)
    let unchecked = 0
    let isAsking = false
    const check = async (find: FindPurgeEpoch): Promise<void> => {
      isAsking = true
      try {
        const now = await find(id)
        if (now !== undefined && now > purgeEpoch) this.#onPurged(id, now)
      } catch {
        // The database is away: it is asked again after as many bytes, and nobody can purge anything without it.
      } finally {
        isAsking = false
      }
    }
    return {
      passed: (bytes) => {
        unchecked += bytes
        if (unchecked < this.#checkBytes || isAsking || !this.#findPurgeEpoch) return
        unchecked = 0
        void check(this.#findPurgeEpoch)
      },
      end: () => this.#remove(id, running),
    }
  }

  /** Cuts the streams of a repository that were begun under an earlier epoch, and those that will be. How many there were. */
  cutBefore(repoId: number, purgeEpoch: number): number {
    this.#remember(repoId, purgeEpoch)
    const before = [...(this.#running.get(repoId) ?? [])].filter((running) => running.purgeEpoch < purgeEpoch)
    for (const running of before) {
      this.#remove(repoId, running)
      running.cut()
    }
    return before.length
  }

  /** Repositories that something is sent of, each with its epoch, perhaps several times. */
  *known(): Generator<readonly [repoId: number, purgeEpoch: number]> {
    for (const [repoId, all] of this.#running) for (const { purgeEpoch } of all) yield [repoId, purgeEpoch]
  }

  #remember(repoId: number, purgeEpoch: number): void {
    const newest = Math.max(purgeEpoch, this.#purged.get(repoId) ?? 0)
    this.#purged.delete(repoId)
    this.#purged.set(repoId, newest)
    const [oldest] = this.#purged.keys()
    if (this.#purged.size > maxRemembered) this.#purged.delete(oldest!)
  }

  #remove(repoId: number, running: Running): void {
    const all = this.#running.get(repoId)
    if (!all?.delete(running) || all.size > 0) return
    this.#running.delete(repoId)
  }
}
