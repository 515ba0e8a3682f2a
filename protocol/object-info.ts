import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'
import { lookUp } from './look-up.js'
import { OidList } from './oid-list.js'
import { dataPkt, flushPkt, pktText, type PktReader } from './pkt-line.js'
import type { FetchPort, Slices } from './ports.js'
import type { Oid } from './types.js'

export interface ObjectInfoRequest {
  readonly size: boolean
  readonly oids: readonly Oid[]
}

/**
 * Reads the arguments of `object-info` up to their flush.
 * @throws ProtocolError `bad-request`, `too-large`
 */
export async function readObjectInfo(reader: PktReader): Promise<ObjectInfoRequest> {
  const oids = new OidList('objects', wireLimits.wants)
  let size = false
  for (;;) {
    const pkt = await reader.next()
    if (pkt?.kind === 'flush') return { size, oids: oids.list }
    if (pkt?.kind !== 'data') throw new ProtocolError('bad-request', 'object-info: expected a flush after the arguments')
    const line = pktText(pkt.payload)
    if (line === 'size') size = true
    else if (line.startsWith('oid ')) oids.add(line.slice(4))
    else throw new ProtocolError('bad-request', `object-info: unexpected line: '${humanLine(line)}'`)
  }
}

/**
 * A line for each object asked about: its size, inflated, in bytes. What the caller may not have is answered like what is not there.
 *
 * Spec: gitprotocol-v2(5), "object-info".
 * @throws ProtocolError `cancelled`
 */
export async function objectInfo(port: FetchPort, { size, oids }: ObjectInfoRequest, slices: Slices): Promise<readonly Buffer[]> {
  const { view } = port
  const lines = size ? [dataPkt('size')] : []
  await lookUp(view, oids, slices, (oid, entry) => {
    lines.push(dataPkt(size ? `${oid} ${entry !== -1 && port.mayWant(oid, entry) ? view.sizeOf(entry) : ''}` : oid))
  })
  return [...lines, flushPkt]
}
