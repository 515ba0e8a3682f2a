import { listBundles, readBundleUri, type BundleOffer } from './bundle-uri.js'
import { uploadPackCapabilities, uploadPackCapabilitiesV2 } from './capabilities.js'
import { ProtocolError } from './errors.js'
import { readCommandV2 } from './fetch-request.js'
import { listRefs, plainLsRefs, readLsRefs } from './ls-refs.js'
import { objectInfo, readObjectInfo } from './object-info.js'
import { dataPkt, errPkt, flushPkt, gather, gatherLong, readPkts, type PktReader } from './pkt-line.js'
import type { RefTable } from './ports.js'
import { advertiseCapabilities, advertiseRefs, serviceHeader } from './ref-advertisement.js'
import { receive, RefusedRequest } from './refused-request.js'
import { fetchV0, fetchV2, type FetchOptions } from './serve-fetch.js'

export interface UploadPackOptions extends FetchOptions {
  /** What the client asked for by `Git-Protocol`. */
  readonly version: 0 | 1 | 2
  readonly body: AsyncIterable<Uint8Array>
  /** What may be fetched beforehand, for `bundle-uri`; undefined: that is not known here. */
  readonly bundles?: () => Promise<readonly BundleOffer[]>
}

/** Yields the answer to `GET info/refs?service=git-upload-pack`. `bundles`: the command `bundle-uri` is known. */
export function* advertiseUploadPack(refs: RefTable, version: 0 | 1 | 2, { bundles = false } = {}): Generator<Buffer> {
  if (version === 2) {
    yield* gather(advertiseCapabilities([...uploadPackCapabilitiesV2, ...(bundles ? ['bundle-uri'] : [])]))
    return
  }
  yield* serviceHeader('git-upload-pack')
  yield* gatherLong(advertiseRefs(version, advertisedLines(refs), uploadPackCapabilities(refs.find(refs.head) && refs.head)))
}

/** HEAD if it leads somewhere, then every ref, each tag with the object it finally names. */
function* advertisedLines(refs: RefTable): Generator<Buffer> {
  const head = refs.find(refs.head)
  if (head) yield dataPkt(`${head.oid} HEAD\n`)
  for (const block of refs.blocks) yield block.linesV0()
}

/**
 * Yields the answer to one `POST git-upload-pack`: refs, acknowledgments, or the pack. What is wrong with the request itself is answered
 * in the format (`ERR …`), because that is what git shows its user.
 *
 * Spec: gitprotocol-v2(5); gitprotocol-pack(5); gitprotocol-http(5), "Smart Service git-upload-pack".
 * @throws ProtocolError before the first yield: `bad-request` for broken framing, and whatever `open` and the port throw. After it:
 * only what is our fault, behind a last line to the client, for the caller to log and to cut the connection
 */
export async function* uploadPack(options: UploadPackOptions): AsyncGenerator<Uint8Array> {
  const reader = readPkts(options.body)
  try {
    yield* options.version === 2 ? serveV2(reader, options) : fetchV0(reader, options)
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error
    yield errPkt(error.message)
  }
}

async function* serveV2(reader: PktReader, options: UploadPackOptions): AsyncGenerator<Uint8Array> {
  const head = await receive(reader, () => readCommandV2(reader))
  if (head === undefined) {
    yield flushPkt
    return
  }
  const { command, hasArguments } = head
  if (command === 'ls-refs') {
    const request = hasArguments ? await receive(reader, () => readLsRefs(reader)) : plainLsRefs
    const port = await options.open()
    try {
      yield* gatherLong(listRefs(port.view.refs, request))
    } finally {
      port.view.release()
    }
  } else if (command === 'fetch') {
    yield* fetchV2(reader, hasArguments, options)
  } else if (command === 'object-info') {
    const request = hasArguments ? await receive(reader, () => readObjectInfo(reader)) : { size: false, oids: [] }
    const port = await options.open()
    try {
      yield* gather(await objectInfo(port, request, options.slices))
    } finally {
      port.view.release()
    }
  } else if (command === 'bundle-uri' && options.bundles) {
    if (hasArguments) await receive(reader, () => readBundleUri(reader))
    yield* gather(listBundles(await options.bundles()))
  } else {
    await receive(reader, () => Promise.reject(new ProtocolError('bad-request', `invalid command '${command}'`)))
  }
}
