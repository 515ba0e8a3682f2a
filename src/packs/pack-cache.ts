import { randomUUID } from 'node:crypto'
import { link, mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HubError } from '../errors.js'
import type { BlobInfo, BlobKey, BlobStore, FilePut } from '../storage/blob-store.js'
import { listFiles } from '../storage/list-files.js'
import { packKey } from '../storage/keys.js'
import { CachedPack, checked } from './cached-pack.js'
import type { LocalPacks, PackLease, PackLeasing, PackName } from './local-packs.js'
import { clientLeft, RoomQueue, untilClientLeft } from './room-queue.js'

export interface PackCacheOptions {
  /** This process's alone, made when it is missing. */
  readonly directory: string
  readonly store: BlobStore
  /** Of all files together. */
  readonly maxBytes: number
  /** How long a lease waits for room that others have. */
  readonly maxWaitMs?: number
}

/** Files of one lease that are brought here at the same time. */
const fetchesAtOnce = 4
/** What others have left behind is removed in this time, as a rule. */
const evictionMs = 1_000
const keysAtOnce = 5_000

/**
 * Packs of a store without files, kept as files while there is room: `packs/aa/<sha256>.pack` below the folder, as in the store, and `tmp/`.
 * A pack that comes is counted whole before its first byte; one that is leased stays, of the others the one used longest ago leaves first.
 *
 * No byte is trusted for its file's name: what comes is hashed as it comes, what an earlier run left before its first use, and a file that has
 * another size, time or inode than when it was hashed is hashed again. What is wrong is fetched anew.
 */
export class PackCache implements LocalPacks, PackLeasing {
  readonly leasing: PackLeasing = this
  readonly #options: PackCacheOptions
  readonly #maxWaitMs: number
  /** By SHA-256 in hex, least recently used first. */
  readonly #entries = new Map<string, CachedPack>()
  readonly #queue = new RoomQueue((packs: readonly PackName[]) => this.#tryEnter(packs))
  #used = 0

  private constructor(options: PackCacheOptions) {
    this.#options = options
    this.#maxWaitMs = options.maxWaitMs ?? 30_000
  }

  /** Takes the folder over, whatever an earlier run left in it. Only for who has it alone. */
  static async open(options: PackCacheOptions): Promise<PackCache> {
    const cache = new PackCache(options)
    await cache.#takeOver()
    return cache
  }

  /** Bytes of all files, those on their way included. */
  get usedBytes(): number {
    return this.#used
  }

  pathOf(sha256: Uint8Array): string {
    return join(this.#options.directory, packKey(sha256))
  }

  async lease(packs: readonly PackName[], signal?: AbortSignal): Promise<PackLease> {
    const entries = await this.#enter(distinct(packs), signal)
    let released = false
    const release = (): void => {
      if (released) return
      released = true
      for (const entry of entries) this.#leave(entry)
    }
    try {
      await untilClientLeft(readyAll(entries), signal)
      return { release }
    } catch (error) {
      release()
      throw error
    }
  }

  async *stream(pack: PackName, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const entry = await this.#enterSoon(pack, signal)
    if (!entry) {
      yield* this.#passBy(pack, signal)
      return
    }
    try {
      yield* entry.follow(signal)
    } finally {
      this.#leave(entry)
    }
  }

  async *#passBy(pack: PackName, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    try {
      yield* checked(pack, await this.#options.store.open(packKey(pack.sha256), signal ? { signal } : {}))
    } catch (error) {
      throw signal?.aborted ? clientLeft() : error
    }
  }

  /**
   * Lets go of packs that nothing needs any more, which `findUnneeded` picks from their keys. One that is being read goes when its last reader has
   * left. @throws what `findUnneeded` throws
   */
  async forgetUnneeded(findUnneeded: (keys: readonly BlobKey[]) => Promise<readonly string[]>): Promise<void> {
    const keys = [...this.#entries.values()].map(({ sha256 }) => packKey(sha256))
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const unneeded = new Set(await findUnneeded(keys.slice(at, at + keysAtOnce)))
      const entries = [...this.#entries.values()].filter(({ sha256 }) => unneeded.has(packKey(sha256)))
      for (const entry of entries) {
        entry.unneeded = true
        this.#settle(entry)
      }
      await Promise.all(entries.map(({ removed }) => removed))
    }
  }

  /** Keeps a file that goes to the store here as well, if there is room: whoever pushed it is often the first to fetch it. */
  keeping(files: FilePut): FilePut {
    return {
      putFile: async (key, path, sha256) => {
        const name = await this.#secondName(path).catch(() => undefined) // then whoever reads it first fetches it
        try {
          await files.putFile(key, path, sha256)
        } catch (error) {
          if (name !== undefined) await rm(name, { force: true }).catch(() => undefined)
          throw error
        }
        if (name !== undefined) await this.#adopt(name, sha256).catch(() => undefined)
      },
    }
  }

  /** @throws when the file is on another file system, among others */
  async #secondName(path: string): Promise<string> {
    const name = join(this.#temporaryFolder, randomUUID())
    await mkdir(this.#temporaryFolder, { recursive: true, mode: 0o700 })
    await link(path, name)
    return name
  }

  async #adopt(name: string, sha256: Uint8Array): Promise<void> {
    const pack = { sha256, bytes: (await stat(name)).size }
    const entry = this.#entries.has(hexOf(sha256)) ? undefined : await this.#enterSoon(pack, undefined)
    if (!entry) return rm(name, { force: true })
    try {
      await entry.adopt(name)
    } finally {
      this.#leave(entry)
    }
  }

  async #takeOver(): Promise<void> {
    const { directory, maxBytes } = this.#options
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await rm(this.#temporaryFolder, { recursive: true, force: true })
    const found: BlobInfo[] = []
    for await (const info of listFiles(directory, 'packs/')) found.push(info)
    const newestFirst = found.toSorted((a, b) => b.modifiedAt.getTime() - a.modifiedAt.getTime())
    const kept: PackName[] = []
    let room = maxBytes
    for (const { key, bytes } of newestFirst) {
      if (bytes > room) {
        await rm(join(directory, key), { force: true })
        continue
      }
      room -= bytes
      kept.push({ sha256: Buffer.from(key.slice('packs/aa/'.length, -'.pack'.length), 'hex'), bytes })
    }
    for (const pack of kept.toReversed()) this.#add(pack, true)
  }

  get #temporaryFolder(): string {
    return join(this.#options.directory, 'tmp')
  }

  #add(pack: PackName, found: boolean): CachedPack {
    const entry: CachedPack = new CachedPack(pack, {
      store: this.#options.store,
      path: this.pathOf(pack.sha256),
      temporaryFolder: this.#temporaryFolder,
      found,
      onSettled: () => this.#settle(entry),
    })
    this.#entries.set(hexOf(pack.sha256), entry)
    this.#used += pack.bytes
    return entry
  }

  /** Waits for room, in order of arrival, and counts the caller in. */
  async #enter(packs: readonly PackName[], signal: AbortSignal | undefined, maxWaitMs = this.#maxWaitMs): Promise<readonly CachedPack[]> {
    if (signal?.aborted) throw clientLeft()
    const wanted = packs.reduce((sum, { bytes }) => sum + bytes, 0)
    if (wanted > this.#options.maxBytes)
      throw new HubError(
        'storage-full',
        `packs of ${wanted} bytes are needed at once, over the ${this.#options.maxBytes} of the cache (CAIRN_CACHE_BYTES)`,
      )
    const here = (this.#queue.isEmpty || this.#missingOf(packs) === 0) && this.#tryEnter(packs)
    return here || this.#queue.wait(packs, { signal, maxWaitMs, tooLate: () => this.#full(wanted) })
  }

  /** For who can do without: undefined when there is no room, or others wait for it. */
  async #enterSoon(pack: PackName, signal: AbortSignal | undefined): Promise<CachedPack | undefined> {
    if (this.#missingOf([pack]) > 0 && !(this.#queue.isEmpty && this.#hasRoomFor([pack]))) return undefined
    try {
      return (await this.#enter([pack], signal, evictionMs))[0]
    } catch (error) {
      if (error instanceof HubError && error.code === 'storage-full') return undefined
      throw error
    }
  }

  #full(wanted: number): HubError {
    return new HubError('storage-full', `the cache of packs has no room for ${wanted} bytes now: what it holds is in use (CAIRN_CACHE_BYTES)`)
  }

  /** Undefined: not now. What has to leave for it leaves. */
  #tryEnter(packs: readonly PackName[]): readonly CachedPack[] | undefined {
    const found = packs.map((pack) => this.#entries.get(hexOf(pack.sha256)))
    for (const [i, entry] of found.entries()) {
      if (!entry || entry.leaving) continue
      if (entry.bytes === packs[i]!.bytes) continue
      // A file of an earlier run that is no such pack: nobody can be reading it.
      if (entry.holders > 0)
        throw new HubError('corrupt', `${packKey(entry.sha256)} has ${entry.bytes} bytes in one row and ${packs[i]!.bytes} in another`)
      this.#evict(entry)
    }
    if (found.some((entry) => entry?.leaving)) return undefined
    const free = this.#options.maxBytes - this.#used
    const missing = this.#missingOf(packs)
    if (missing > free) {
      if (this.#hasRoomFor(packs)) this.#makeRoom(missing - free, new Set(found))
      return undefined
    }
    return packs.map((pack, i) => {
      const entry = found[i] ?? this.#add(pack, false)
      entry.holders++
      this.#touch(entry)
      return entry
    })
  }

  #missingOf(packs: readonly PackName[]): number {
    return packs.reduce((sum, { sha256, bytes }) => (this.#entries.has(hexOf(sha256)) ? sum : sum + bytes), 0)
  }

  /** There is, or will be once others have left that nobody needs. */
  #hasRoomFor(packs: readonly PackName[]): boolean {
    const wanted = new Set(packs.map(({ sha256 }) => hexOf(sha256)))
    let room = this.#options.maxBytes - this.#used
    for (const [hex, entry] of this.#entries) if (isIdle(entry) && !wanted.has(hex)) room += entry.bytes
    return this.#missingOf(packs) <= room
  }

  #makeRoom(bytes: number, except: ReadonlySet<CachedPack | undefined>): void {
    let toCome = 0
    for (const entry of this.#entries.values()) if (entry.leaving) toCome += entry.bytes
    for (const entry of this.#entries.values()) {
      if (toCome >= bytes) return
      if (entry.leaving || !isIdle(entry) || except.has(entry)) continue
      toCome += entry.bytes
      this.#evict(entry)
    }
  }

  /** Its bytes count until they are gone. */
  #evict(entry: CachedPack): void {
    entry.leaving = true
    entry.removed = entry.remove().then(
      () => this.#drop(entry),
      () => {
        // It cannot be removed: others are tried first next time.
        entry.leaving = false
        this.#touch(entry)
      },
    )
  }

  #leave(entry: CachedPack): void {
    entry.holders--
    if (entry.holders === 0 && entry.busy) entry.cancel()
    this.#touch(entry)
    this.#settle(entry)
  }

  /** Forgets a pack that did not come, and looks who can enter. */
  #settle(entry: CachedPack): void {
    if (entry.holders > 0 || entry.busy || entry.leaving) return
    if (!entry.present) this.#drop(entry)
    else if (entry.unneeded) this.#evict(entry)
    else this.#queue.admit()
  }

  #drop(entry: CachedPack): void {
    const hex = hexOf(entry.sha256)
    if (this.#entries.get(hex) !== entry) return
    this.#entries.delete(hex)
    this.#used -= entry.bytes
    this.#queue.admit()
  }

  #touch(entry: CachedPack): void {
    const hex = hexOf(entry.sha256)
    if (this.#entries.delete(hex)) this.#entries.set(hex, entry)
  }
}

const isIdle = (entry: CachedPack): boolean => entry.holders === 0 && !entry.busy
const hexOf = (sha256: Uint8Array): string => Buffer.from(sha256.buffer, sha256.byteOffset, sha256.length).toString('hex')

const distinct = (packs: readonly PackName[]): readonly PackName[] => [...new Map(packs.map((pack) => [hexOf(pack.sha256), pack])).values()]

/** A few at a time; the first that fails is what is thrown. */
async function readyAll(entries: readonly CachedPack[]): Promise<void> {
  const queue = [...entries]
  const one = async (): Promise<void> => {
    for (let entry = queue.shift(); entry; entry = queue.shift()) await entry.ready()
  }
  try {
    await Promise.all(Array.from({ length: fetchesAtOnce }, one))
  } finally {
    queue.length = 0
  }
}
