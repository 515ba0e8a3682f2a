import { randomBytes, randomUUID } from 'node:crypto'
import type { BlobStore, SignedLinks } from '../storage/blob-store.js'
import { stagingKey } from '../storage/keys.js'
import { oneChunk } from '../storage/whole-bytes.js'

const timeoutMs = 10_000
const linkSeconds = 60

/**
 * Whether clients may be given addresses to put bytes at. Some stores, MinIO among them, take a header on such a request that nobody signed,
 * `x-amz-copy-source`, and then copy what the one who signed may read: who knows the name of an object would have it, without its bytes.
 * So it is tried, from where clients are. A store that cannot be reached there counts as one that does so.
 */
export async function acceptsOnlyBytes(store: BlobStore & SignedLinks, bucket: string): Promise<boolean> {
  const [source, target] = [stagingKey(`probe-${randomUUID()}`), stagingKey(`probe-${randomUUID()}`)]
  const secret = randomBytes(64)
  try {
    await store.put(source, oneChunk(secret), { bytes: secret.length })
    const url = store.signedUrl(target, 'put', { expiresSeconds: linkSeconds })
    if (!url) return false
    const response = await fetch(url, {
      method: 'PUT',
      headers: { 'x-amz-copy-source': `/${bucket}/${source}` },
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'manual',
    })
    await response.arrayBuffer()
    const copied = await store.stat(target)
    return copied === undefined || copied.bytes === 0
  } catch {
    return false
  } finally {
    await Promise.all([source, target].map((key) => store.delete(key).catch(() => undefined)))
  }
}
