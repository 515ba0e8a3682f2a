import { createHash } from 'node:crypto'
import type { FetchRequest } from './fetch-request.js'
import { attend, type Clock } from './keepalive.js'
import { flushPkt, gather } from './pkt-line.js'
import type { Boundary, FetchPort, Slices } from './ports.js'
import { ProgressLines } from './progress.js'
import { isExpected, RefusedRequest } from './refused-request.js'
import { BandWriter, fatalPkt, keepalivePkt, type SideBandBytes } from './side-band.js'
import type { Oid } from './types.js'

export interface SendOptions extends Clock {
  readonly slices: Slices
}

/** What is to be sent: the request, and what was found out about it. */
export interface PackOrder extends FetchRequest {
  readonly boundary: Boundary | undefined
}

/** The pack behind `opening`, framed as the client asked; nothing is yielded before there is something to say. */
export async function* sendPack(
  port: FetchPort,
  request: PackOrder,
  common: readonly Oid[],
  opening: readonly Buffer[],
  maxBytes: SideBandBytes | undefined,
  options: SendOptions,
): AsyncGenerator<Uint8Array> {
  const { slices } = options
  const { wants, thinPack, ofsDelta, includeTag, boundary, filter } = request
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
    { wants, haves: common, thinPack, ofsDelta, includeTag, ...(boundary ? { boundary } : {}), ...(filter ? { filter } : {}) },
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
    const expected = isExpected(error)
    if (!begun && expected) throw new RefusedRequest(error.message, { cause: error })
    if (!begun || maxBytes === undefined) throw error
    yield fatalPkt(expected ? error.message : 'internal error')
    if (!expected) throw error
  } finally {
    recording?.end()
  }
}

/** All that shapes an answer besides the repository: two requests of one key get the same bytes. Of one length, whatever was asked. */
function answerKey(request: PackOrder, common: readonly Oid[], maxBytes: SideBandBytes | undefined): string {
  const { wants, thinPack, ofsDelta, includeTag, noProgress, boundary, filter } = request
  const flags = [thinPack, ofsDelta, includeTag, noProgress].map(Number).join('')
  const lists = [wants, common, boundary?.shallow ?? [], boundary?.unshallow ?? []].map((oids) => oids.toSorted().join(''))
  return createHash('sha256')
    .update([flags, maxBytes ?? 0, filter?.blobBytes, filter?.treeDepth, ...lists].join(' '))
    .digest('base64')
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
