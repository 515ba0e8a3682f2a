import { ProtocolError } from './errors.js'
import { dataPkt, flushPkt, type PktReader } from './pkt-line.js'

/** A bundle that a client may fetch by plain HTTP before it fetches the rest. */
export interface BundleOffer {
  /** Letters, digits and dashes. */
  readonly id: string
  /** Absolute. */
  readonly uri: string
  /** Rises with every newer bundle of the repository; below 2^53. */
  readonly creationToken: number
}

/** `bundle-uri` has no arguments. @throws ProtocolError `bad-request` */
export async function readBundleUri(reader: PktReader): Promise<void> {
  const pkt = await reader.next()
  if (pkt !== undefined && pkt.kind !== 'flush') throw new ProtocolError('bad-request', 'bundle-uri: expected a flush')
}

/**
 * The bundles there are, the list a client reads with `transfer.bundleURI`; one that it does not want, or cannot fetch, it goes without.
 *
 * Spec: gitprotocol-v2(5), "bundle-uri"; git's technical/bundle-uri, "Bundle Lists".
 * @throws ProtocolError `bad-request` for what would be read as another line
 */
export function* listBundles(bundles: readonly BundleOffer[]): Generator<Buffer> {
  yield* ['bundle.version=1', 'bundle.mode=all', 'bundle.heuristic=creationToken'].map((line) => dataPkt(line))
  for (const { id, uri, creationToken } of bundles) {
    if (!/^[A-Za-z0-9-]+$/.test(id) || /[\0-\x20\x7f]/.test(uri)) throw new ProtocolError('bad-request', `no bundle: ${JSON.stringify(id)}`)
    yield dataPkt(`bundle.${id}.uri=${uri}`)
    yield dataPkt(`bundle.${id}.creationToken=${creationToken}`)
  }
  yield flushPkt
}
