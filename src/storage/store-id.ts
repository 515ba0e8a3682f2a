import type { BlobStore } from './blob-store.js'
import { storeIdKey } from './keys.js'
import { readWhole } from './whole-bytes.js'

const maxIdBytes = 64

/** Which store this is, as it says itself; see server/store-claim. Undefined: nobody has said so yet. */
export async function readStoreId(store: BlobStore): Promise<string | undefined> {
  const info = await store.stat(storeIdKey)
  if (!info) return undefined
  const bytes = await readWhole(await store.open(storeIdKey, { range: { from: 0, to: Math.min(info.bytes, maxIdBytes) } }))
  return bytes.toString('utf8').trim()
}
