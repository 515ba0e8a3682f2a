import { readFetchV0, readFetchV2, type FetchRequestV2 } from './fetch-request.js'
import { attend, type Chatter, type Clock } from './keepalive.js'
import { acknowledgments, findCommon, NegotiationV0 } from './negotiation.js'
import { oidBytes } from './oid.js'
import { dataPkt, delimPkt, flushPkt, gather, type PktReader } from './pkt-line.js'
import type { FetchPort, Slices } from './ports.js'
import { receive, RefusedRequest, refusing } from './refused-request.js'
import { findShallowInfo } from './shallow-info.js'
import { sendPack } from './send-pack.js'
import { bandPkts, bands, earlyKeepalivePkt, fatalPkt, sideBandBytes } from './side-band.js'
import type { Oid } from './types.js'
import { findWantedRefs, wantedRefs } from './wanted-refs.js'

export interface FetchOptions extends Clock {
  /** A frozen view, opened once the whole request is there and released here. */
  readonly open: () => Promise<FetchPort>
  readonly slices: Slices
}

/** `fetch` of protocol v2, from its arguments on. */
export async function* fetchV2(reader: PktReader, hasArguments: boolean, options: FetchOptions): AsyncGenerator<Uint8Array> {
  const request = hasArguments ? await receive(reader, () => readFetchV2(reader)) : undefined
  // Nothing wanted, nothing asked: git writes nothing at all here, which over HTTP its own client takes for a failure.
  if (!request || (!wantsAny(request) && (!request.waitForDone || request.done || request.haves.length === 0))) {
    yield flushPkt
    return
  }
  const port = await options.open()
  try {
    yield* answerV2(port, request, options)
  } catch (error) {
    if (!request.sidebandAll || !(error instanceof RefusedRequest)) throw error
    yield fatalPkt(error.message)
  } finally {
    port.view.release()
  }
}

const wantsAny = ({ wants, wantRefs }: FetchRequestV2): boolean => wants.length > 0 || wantRefs.length > 0

/** The sections of the answer, in the one order in which clients take them. */
async function* answerV2(port: FetchPort, request: FetchRequestV2, options: FetchOptions): AsyncGenerator<Uint8Array> {
  const { slices } = options
  const { waitForDone, sidebandAll } = request
  const framed = (lines: readonly Buffer[]): readonly Buffer[] => (sidebandAll ? lines.map(onBand) : lines)
  /** With bands from the first line on, a client need not wait in silence. */
  const waiting = async function* <T>(work: Promise<T>): AsyncGenerator<Uint8Array, T> {
    return sidebandAll ? yield* attend(work, earlyChatter, options) : await work
  }
  checkWants(port, request.wants)
  const wanted = findWantedRefs(port.view.refs, request.wantRefs)
  const wants = [...new Set([...request.wants, ...wanted.map(({ oid }) => oid)])]
  const common = yield* waiting(findCommon(port.view, request.haves, slices))
  const opening: Buffer[] = []
  if (request.haves.length > 0 && !request.done) {
    const ready = !waitForDone && common.length > 0 && (yield* waiting(port.reaches(port.view, wants, common, { slices })))
    opening.push(...acknowledgments(common, ready), ready ? delimPkt : flushPkt)
    if (!ready) {
      yield* gather(framed(opening))
      return
    }
  }
  const info = yield* waiting(refusing(findShallowInfo(port, wants, request, slices)))
  if (info) opening.push(dataPkt('shallow-info\n'), ...info.lines, delimPkt)
  if (wanted.length > 0) opening.push(...wantedRefs(wanted), delimPkt)
  opening.push(dataPkt('packfile\n'))
  yield* sendPack(port, { ...request, wants, boundary: info?.boundary }, common, framed(opening), sideBandBytes['side-band-64k'], options)
}

const earlyChatter: Chatter = { take: () => undefined, beat: () => earlyKeepalivePkt, onWake: () => undefined }

/** A line of an answer that goes on bands; what ends a section has none. */
const onBand = (pkt: Buffer): Buffer => (pkt.length > 4 ? bandPkts(bands.data, pkt.subarray(4)) : pkt)

/** One whole request of protocol v0 or v1. */
export async function* fetchV0(reader: PktReader, options: FetchOptions): AsyncGenerator<Uint8Array> {
  const request = await receive(reader, () => readFetchV0(reader))
  if (request === undefined) {
    yield flushPkt
    return
  }
  const port = await options.open()
  try {
    checkWants(port, request.wants)
    const info = await refusing(findShallowInfo(port, request.wants, request, options.slices))
    // Every answer of the exchange begins with them; a client that asks for less history reads them before it says what it has.
    const opening = request.deepen ? [...(info?.lines ?? []), flushPkt] : []
    if (request.deepen && request.endsEarly) {
      yield* gather(opening)
      return
    }
    const negotiation = new NegotiationV0(port, request.wants, request.multiAck, { slices: options.slices })
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
    yield* sendPack(port, { ...request, boundary: info?.boundary }, negotiation.common, opening, request.sideBand, options)
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
