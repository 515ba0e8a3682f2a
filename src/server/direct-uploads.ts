import { randomBytes, randomUUID } from 'node:crypto'
import type { BlobStore, SignedLinks } from '../storage/blob-store.js'
import { stagingKey } from '../storage/keys.js'
import { oneChunk } from '../storage/whole-bytes.js'

const timeoutMs = 10_000
const linkSeconds = 60

/**
 * Whether clients may be given addresses to put bytes at. Some stores, MinIO among them, take a header on such a request that nobody signed,
 * `x-amz-copy-source`, and then copy what the one who signed may read: who knows the name of an object would have it, without its bytes.
 * And one that took more bytes than the address is signed for would be filled past all room that was made. So both are tried, from where
 * clients are. A store that cannot be reached there counts as one that does so.
 */
export async function acceptsOnlyBytes(store: BlobStore & SignedLinks, bucket: string): Promise<boolean> {
  const [source, target] = [stagingKey(`probe-${randomUUID()}`), stagingKey(`probe-${randomUUID()}`)]
  const secret = randomBytes(64)
  /** How many bytes lie there after a client was sent to put `signedBytes`. */
  const bytesAfter = async (signedBytes: number, request: Pick<RequestInit, 'headers' | 'body'>): Promise<number> => {
    const url = store.signedUrl(target, 'put', { expiresSeconds: linkSeconds, bytes: signedBytes })
    if (!url) throw new Error('the store signs no links')
    const response = await fetch(url, { ...request, method: 'PUT', signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' })
    await response.arrayBuffer()
    return (await store.stat(target))?.bytes ?? 0
  }
  try {
    await store.put(source, oneChunk(secret), { bytes: secret.length })
    if ((await bytesAfter(0, { headers: { 'x-amz-copy-source': `/${bucket}/${source}` } })) > 0) return false
    return (await bytesAfter(1, { body: secret })) === 0
  } catch {
    return false
  } finally {
    await Promise.all([source, target].map((key) => store.delete(key).catch(() => undefined)))
  }
}
