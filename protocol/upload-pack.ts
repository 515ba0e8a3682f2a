import { uploadPackCapabilities, uploadPackCapabilitiesV2 } from './capabilities.js'
import { ProtocolError } from './errors.js'
import { readCommandV2, readFetchV0, readFetchV2, type FetchRequest } from './fetch-request.js'
import { attend, type Clock } from './keepalive.js'
import { wireLimits } from './limits.js'
import { listRefs, plainLsRefs, readLsRefs, type LsRefsRequest } from './ls-refs.js'
import { acknowledgments, findCommon, NegotiationV0 } from './negotiation.js'
import { oidBytes } from './oid.js'
import { dataPkt, delimPkt, errPkt, flushPkt, gather, readPkts, type PktReader } from './pkt-line.js'
import type { FetchPort, RefTable, Slices } from './ports.js'
import { ProgressLines } from './progress.js'
import { advertiseCapabilities, advertiseRefs, serviceHeader, type AdvertisedRef } from './ref-advertisement.js'
import { BandWriter, fatalPkt, keepalivePkt, sideBandBytes, type SideBandBytes } from './side-band.js'
import type { Oid } from './types.js'

export interface UploadPackOptions extends Clock {
  /** What the client asked for by `Git-Protocol`. */
  readonly version: 0 | 1 | 2
  readonly body: AsyncIterable<Uint8Array>
  /** A frozen view, opened once the whole request is there and released here. */
  readonly open: () => Promise<FetchPort>
  readonly slices: Slices
}

/** Yields the answer to `GET info/refs?service=git-upload-pack`. */
export function* advertiseUploadPack(refs: RefTable, version: 0 | 1 | 2): Generator<Buffer> {
  if (version === 2) {
    yield* gather(advertiseCapabilities(uploadPackCapabilitiesV2))
    return
  }
  yield* serviceHeader('git-upload-pack')
  yield* gather(advertiseRefs(version, advertisedRefs(refs), uploadPackCapabilities(refs.find(refs.head) && refs.head)))
}

/** HEAD if it leads somewhere, then every ref, each tag with the object it finally names. */
function* advertisedRefs(refs: RefTable): Generator<AdvertisedRef> {
  const head = refs.find(refs.head)
  if (head) yield { name: 'HEAD', oid: head.oid }
  for (const { name, oid, peeled } of refs.list) {
    yield { name, oid }
    if (peeled) yield { name: `${name}^{}`, oid: peeled }
  }
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
    yield* options.version === 2 ? serveV2(reader, options) : serveV0(reader, options)
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error
    yield errPkt(error.message)
  }
}

/** The client is to read this as `ERR`: nothing was yielded yet. */
class RefusedRequest extends Error {}

/** Reads a request; what is wrong with it becomes a refusal once the rest has been read, unless its framing is gone. */
async function receive<T>(reader: PktReader, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof ProtocolError) || (reader.broken && error.code !== 'too-large') || reader.ended) throw error
    await reader.drain(wireLimits.requestBytes)
    throw new RefusedRequest(error.message)
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
      yield* listKnownRefs(port, request)
    } finally {
      port.view.release()
    }
  } else if (command === 'fetch') {
    yield* fetchV2(reader, hasArguments, options)
  } else {
    await receive(reader, () => Promise.reject(new ProtocolError('bad-request', `invalid command '${command}'`)))
  }
}

/** The same refs in the same state are asked for again and again. */
function* listKnownRefs({ view, cache }: FetchPort, request: LsRefsRequest): Generator<Uint8Array> {
  const { peel, symrefs, unborn, prefixes } = request
  const key = `ls-refs ${[peel, symrefs, unborn].map(Number).join('')} ${view.refs.head} ${JSON.stringify(prefixes)}`
  const known = key.length <= maxKeyLength ? cache?.find(key) : undefined
  if (known) {
    yield known
    return
  }
  const recording = key.length <= maxKeyLength ? cache?.record(key) : undefined
  for (const chunk of gather(listRefs(view.refs, request))) {
    recording?.add(chunk)
    yield chunk
  }
  recording?.keep()
}

/** A request for refs that is longer is not worth remembering. */
const maxKeyLength = 4_096

async function* fetchV2(reader: PktReader, hasArguments: boolean, options: UploadPackOptions): AsyncGenerator<Uint8Array> {
  const request = hasArguments ? await receive(reader, () => readFetchV2(reader)) : undefined
  // Nothing wanted, nothing asked: git writes nothing at all here, which over HTTP its own client takes for a failure.
  if (!request || (request.wants.length === 0 && (!request.waitForDone || request.done || request.haves.length === 0))) {
    yield flushPkt
    return
  }
  const port = await options.open()
  try {
    checkWants(port, request.wants)
    const common = await findCommon(port.view, request.haves, options.slices)
    const opening: Buffer[] = []
    if (request.haves.length > 0 && !request.done) {
      const ready = !request.waitForDone && common.length > 0 && (await port.reaches(port.view, request.wants, common, { slices: options.slices }))
      opening.push(...acknowledgments(common, ready), ready ? delimPkt : flushPkt)
      if (!ready) {
        yield* gather(opening)
        return
      }
    }
    opening.push(dataPkt('packfile\n'))
    yield* sendPack(port, request, common, opening, sideBandBytes['side-band-64k'], options)
  } finally {
    port.view.release()
  }
}

async function* serveV0(reader: PktReader, options: UploadPackOptions): AsyncGenerator<Uint8Array> {
  const request = await receive(reader, () => readFetchV0(reader))
  if (request === undefined) {
    yield flushPkt
    return
  }
  const port = await options.open()
  try {
    checkWants(port, request.wants)
    const negotiation = new NegotiationV0(port, request.wants, request.multiAck, { slices: options.slices })
    const opening: Buffer[] = []
    for (const oid of request.haves) {
      const line = await negotiation.have(oid)
      if (line) opening.push(line)
      const pause = options.slices.pause()
      if (pause) await pause
    }
    if (!request.done) {
      const { lines, ready } = await negotiation.flush()
      opening.push(...lines)
      // A round that ends here is not the end of the talk: the client asks again and repeats what we have in common.
      if (!ready || !request.noDone) {
        yield* gather(opening)
        return
      }
    }
    const last = negotiation.done()
    if (last) opening.push(last)
    yield* sendPack(port, request, negotiation.common, opening, request.sideBand, options)
  } finally {
    port.view.release()
  }
}

/** @throws RefusedRequest in git's own words */
function checkWants(port: FetchPort, wants: readonly Oid[]): void {
  for (const oid of wants) {
    const entry = port.view.find(oidBytes(oid), 'read')
    if (entry === -1 || !port.mayWant(oid, entry)) throw new RefusedRequest(`upload-pack: not our ref ${oid}`)
  }
}

/** The pack behind `opening`, framed as the client asked; nothing is yielded before there is something to say. */
async function* sendPack(
  port: FetchPort,
  request: FetchRequest,
  common: readonly Oid[],
  opening: readonly Buffer[],
  maxBytes: SideBandBytes | undefined,
  options: UploadPackOptions,
): AsyncGenerator<Uint8Array> {
  const { slices } = options
  const { wants, thinPack, ofsDelta, includeTag } = request
  const key = answerKey(request, common, maxBytes)
  const known = port.cache?.find(key)
  if (known) {
    port.onKept?.()
    yield* gather(opening)
    yield known
    return
  }
  const recording = port.cache?.record(key)
  const lines = maxBytes === undefined || request.noProgress ? undefined : new ProgressLines()
  const pack = port.answer(
    port.view,
    { wants, haves: common, thinPack, ofsDelta, includeTag },
    lines ? { slices, onProgress: (progress) => lines.report(progress) } : { slices },
  )
  let begun = false
  try {
    for await (const chunk of maxBytes === undefined ? pack : bandPack(pack, lines, maxBytes, options)) {
      if (!begun) yield* gather(opening)
      begun = true
      recording?.add(chunk)
      yield chunk
    }
    recording?.keep()
  } catch (error) {
    const expected = error instanceof ProtocolError && error.code !== 'corrupt' && error.code !== 'cancelled'
    if (!begun && expected) throw new RefusedRequest(error.message, { cause: error })
    if (!begun || maxBytes === undefined) throw error
    yield fatalPkt(expected ? error.message : 'internal error')
    if (!expected) throw error
  }
}

/** All that shapes an answer besides the repository: two requests of one key get the same bytes. */
function answerKey(request: FetchRequest, common: readonly Oid[], maxBytes: SideBandBytes | undefined): string {
  const { wants, thinPack, ofsDelta, includeTag, noProgress } = request
  const flags = [thinPack, ofsDelta, includeTag, noProgress].map(Number).join('')
  return `${flags} ${maxBytes ?? 0} ${wants.toSorted().join('')} ${common.toSorted().join('')}`
}

/** The pack on band 1, what is to be said about it on band 2, keepalives until it starts, and the flush. */
async function* bandPack(
  pack: AsyncIterable<Uint8Array>,
  lines: ProgressLines | undefined,
  maxBytes: SideBandBytes,
  clock: Clock,
): AsyncGenerator<Uint8Array> {
  const writer = new BandWriter(maxBytes)
  const chunks = pack[Symbol.asyncIterator]()
  const chatter = {
    take: () => lines?.take(maxBytes),
    beat: () => keepalivePkt,
    onWake(wake: () => void) {
      if (lines) lines.wake = wake
    },
  }
  try {
    let next = yield* attend(chunks.next(), chatter, clock)
    while (!next.done) {
      yield* writer.write(next.value)
      next = await chunks.next()
      const said = chatter.take()
      if (said) yield said
    }
    lines?.finish()
    const last = [writer.flush(), chatter.take(), flushPkt].filter((part) => part !== undefined)
    yield Buffer.concat(last)
  } finally {
    await chunks.return?.()
  }
}
