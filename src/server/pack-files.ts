import type { Config } from '../config/config.js'
import { takeDataLock } from '../db/data-lock.js'
import { packsInStore, type LocalPacks } from '../packs/local-packs.js'
import { PackCache } from '../packs/pack-cache.js'
import type { FilePut } from '../storage/blob-store.js'
import type { HubStore } from './stores.js'

/** Where this hub reads packs, and what takes them in. */
export interface HubPackFiles {
  readonly localPacks: LocalPacks
  readonly files: FilePut
  /** Of one push: what could not be read here is not taken. */
  readonly maxPackBytes: number
  /** Undefined: there is none. */
  readonly cache: PackCache | undefined
  close(): void
}

type Settings = Pick<Config, 'cacheDirectory' | 'cacheBytes' | 'maxPackBytes'>

/**
 * The store's own files; for a store that has none, a cache of them.
 * @throws HubError `config` when another hub has the cache's folder
 */
export async function openPackFiles(settings: Settings, { store, localFiles }: Pick<HubStore, 'store' | 'localFiles'>): Promise<HubPackFiles> {
  const { cacheDirectory, cacheBytes, maxPackBytes } = settings
  if (localFiles) return { localPacks: packsInStore(localFiles), files: store, maxPackBytes, cache: undefined, close: () => undefined }
  const lock = takeDataLock(cacheDirectory, 'CAIRN_CACHE_DIR')
  try {
    const cache = await PackCache.open({ directory: cacheDirectory, store, maxBytes: cacheBytes })
    return { localPacks: cache, files: cache.keeping(store), maxPackBytes: Math.min(maxPackBytes, cacheBytes), cache, close: () => lock.release() }
  } catch (error) {
    lock.release()
    throw error
  }
}
