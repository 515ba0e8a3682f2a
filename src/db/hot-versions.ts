import { HubError } from '../errors.js'
import { CommitOutcomeUnknown } from './database-errors.js'
import type { ActorState, Current, RepoPath, RepoState, Versions } from './versions.js'

/** Entries of each kind. */
const maxEntries = 10_000

/**
 * `Versions` in memory, for a hub that is the only writer of its database: a hot request does no SQL. What changes is dropped before its COMMIT
 * is sent, and kept again only when it was read after the change had ended; so nothing older than a report is ever answered with.
 * Who is not found is not remembered.
 */
export function createHotVersions(inner: Versions): Versions {
  const repos = new Shelf<RepoState>()
  const actors = new Shelf<ActorState>()

  async function read(tokenKey: string | undefined, tokenHash: Uint8Array | undefined, path: RepoPath | undefined): Promise<Current> {
    const marks = [repos.mark(), actors.mark()] as const
    const current = await inner.current({ tokenHash, repo: path })
    if (current.repo && path) repos.keep(repoKey(path), current.repo.id, current.repo, marks[0])
    if (current.actor && tokenKey !== undefined) actors.keep(tokenKey, current.actor.id, current.actor, marks[1])
    return current
  }

  return {
    async current({ tokenHash, repo: path }) {
      const tokenKey = tokenHash && Buffer.from(tokenHash.buffer, tokenHash.byteOffset, tokenHash.length).toString('latin1')
      const repo = path && repos.find(repoKey(path))
      const known = tokenKey === undefined ? undefined : actors.find(tokenKey)
      const actor = known && isLive(known) ? known : undefined
      const missesRepo = path !== undefined && !repo
      const missesActor = tokenHash !== undefined && !actor
      if (!missesRepo && !missesActor) return { ...(actor ? { actor } : {}), ...(repo ? { repo } : {}) }
      return read(tokenKey, tokenHash, path)
    },
    repoById: (id) => inner.repoById(id),
    async actorByToken(tokenId) {
      const key = `token ${tokenId}`
      const known = actors.find(key)
      if (known && isLive(known)) return known
      const mark = actors.mark()
      const actor = await inner.actorByToken(tokenId)
      if (actor) actors.keep(key, actor.id, actor, mark)
      return actor
    },

    async changing({ repoId, actorId }, change) {
      if (repoId !== undefined) repos.close(repoId)
      if (actorId !== undefined) actors.close(actorId)
      try {
        return await change()
      } catch (error) {
        // Nobody knows what became of it, and it may yet be committed: from now on the database is asked.
        if (error instanceof CommitOutcomeUnknown || (error instanceof HubError && error.code === 'unavailable')) {
          if (repoId !== undefined) repos.close(repoId)
          if (actorId !== undefined) actors.close(actorId)
        }
        throw error
      } finally {
        if (repoId !== undefined) repos.open(repoId)
        if (actorId !== undefined) actors.open(actorId)
      }
    },
  }
}

const repoKey = ({ type, namespace, name }: RepoPath): string => `${type}/${namespace}/${name}`.toLowerCase()

/** The database's clock decides when a token is read; ours, which is the same machine's, when it is kept. */
const isLive = ({ token: { expiresAt } }: ActorState): boolean => expiresAt === null || expiresAt.getTime() > Date.now()

/** Values by key, each about one id. While an id is closed nothing about it is kept. */
class Shelf<T> {
  /** Least recently used first. */
  readonly #values = new Map<string, { readonly id: number; readonly value: T }>()
  readonly #keys = new Map<number, Set<string>>()
  /** Changes under way, by id. */
  readonly #closed = new Map<number, number>()
  /** By id: when its last change ended, by `#clock`. */
  readonly #changedAt = new Map<number, number>()
  #clock = 0
  /** What was read before this is not kept: the changes since are forgotten. */
  #floor = 0

  find(key: string): T | undefined {
    const held = this.#values.get(key)
    if (!held) return undefined
    this.#values.delete(key)
    this.#values.set(key, held)
    return held.value
  }

  /** To be taken before a value is read, and given to `keep` with it. */
  mark(): number {
    return this.#clock
  }

  keep(key: string, id: number, value: T, mark: number): void {
    if (this.#closed.has(id) || mark < this.#floor || (this.#changedAt.get(id) ?? 0) > mark) return
    this.#drop(key)
    this.#values.set(key, { id, value })
    const keys = this.#keys.get(id)
    if (keys) keys.add(key)
    else this.#keys.set(id, new Set([key]))
    for (const oldest of this.#values.keys()) {
      if (this.#values.size <= maxEntries) break
      this.#drop(oldest)
    }
  }

  close(id: number): void {
    this.#closed.set(id, (this.#closed.get(id) ?? 0) + 1)
    this.#clock += 1
    this.#changedAt.set(id, this.#clock)
    for (const key of this.#keys.get(id) ?? []) this.#drop(key)
  }

  open(id: number): void {
    const left = this.#closed.get(id)! - 1
    if (left === 0) this.#closed.delete(id)
    else this.#closed.set(id, left)
    this.#clock += 1
    this.#changedAt.set(id, this.#clock)
    if (this.#changedAt.size <= maxEntries) return
    this.#changedAt.clear()
    this.#floor = this.#clock
  }

  #drop(key: string): void {
    const held = this.#values.get(key)
    if (!held) return
    this.#values.delete(key)
    const keys = this.#keys.get(held.id)!
    keys.delete(key)
    if (keys.size === 0) this.#keys.delete(held.id)
  }
}
