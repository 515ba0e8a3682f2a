import { checkObjectFormat, parseCapabilities } from './capabilities.js'
import { ShallowLines, type ShallowArguments } from './deepen-arguments.js'
import { ProtocolError } from './errors.js'
import { humanLine } from './human-text.js'
import { wireLimits } from './limits.js'
import { parseFilter } from './object-filter.js'
import { OidList } from './oid-list.js'
import { pktText, type PktReader } from './pkt-line.js'
import type { ObjectFilter } from './ports.js'
import { sideBandBytes, type SideBandBytes } from './side-band.js'
import type { Oid, RefName } from './types.js'

/** What a client wants and has, in either protocol. */
export interface FetchRequest extends ShallowArguments {
  /** Distinct, in the order sent. */
  readonly wants: readonly Oid[]
  /** In the order sent. The repository may know none of them. */
  readonly haves: readonly Oid[]
  /** The client asks no more: the pack is to follow. */
  readonly done: boolean
  readonly thinPack: boolean
  readonly ofsDelta: boolean
  readonly includeTag: boolean
  readonly noProgress: boolean
  readonly filter: ObjectFilter | undefined
}

export interface FetchRequestV2 extends FetchRequest {
  /** Never say `ready`; with no wants at all, the client only asks what we have in common. */
  readonly waitForDone: boolean
  /** Wanted by name, distinct: what they stand at when the request is answered. */
  readonly wantRefs: readonly RefName[]
  /** All lines of the answer go on bands. */
  readonly sidebandAll: boolean
}

export type MultiAck = 'none' | 'multi_ack' | 'multi_ack_detailed'

export interface FetchRequestV0 extends FetchRequest {
  readonly multiAck: MultiAck
  /** The pack may follow `ready` in the same answer. */
  readonly noDone: boolean
  /** `undefined`: the pack goes bare. */
  readonly sideBand: SideBandBytes | undefined
  /** The body ended behind the wants: the client asks only how its history would be cut. */
  readonly endsEarly: boolean
}

export interface CommandV2 {
  readonly command: string
  /** Arguments follow: the delimiter was there. */
  readonly hasArguments: boolean
}

/** Words that end in a clear refusal rather than in `unexpected line`: real clients send them when told to, whatever we advertise. */
const notOffered: readonly (readonly [start: string, reason: string])[] = [['packfile-uris ', 'packfile-uris is not supported']]

function refuseLine(line: string): never {
  const [, reason] = notOffered.find(([start]) => line.startsWith(start)) ?? []
  if (reason !== undefined) throw new ProtocolError('unsupported', reason)
  throw new ProtocolError('bad-request', `unexpected line: '${humanLine(line)}'`)
}

/**
 * Reads the head of a v2 request: the command and the capabilities that go with it, up to the delimiter or the flush.
 * `undefined`: a flush alone, by which clients probe the way before a long body.
 * @throws ProtocolError `bad-request`, `unsupported`
 */
export async function readCommandV2(reader: PktReader): Promise<CommandV2 | undefined> {
  let command: string | undefined
  let format: string | undefined
  for (let first = true; ; first = false) {
    const pkt = await reader.next()
    if (pkt === undefined) throw new ProtocolError('bad-request', first ? 'the request is empty' : 'the request ends before its flush')
    if (pkt.kind === 'flush' && first) return undefined
    if (pkt.kind !== 'data') {
      if (pkt.kind === 'end') throw new ProtocolError('bad-request', 'unexpected response-end')
      if (command === undefined) throw new ProtocolError('bad-request', 'no command requested')
      checkObjectFormat(format)
      return { command, hasArguments: pkt.kind === 'delim' }
    }
    const line = pktText(pkt.payload)
    const [, key, value = ''] = /^([A-Za-z0-9_-]+)(?:=(.*))?$/s.exec(line) ?? []
    if (key === 'command') {
      if (command !== undefined)
        throw new ProtocolError('bad-request', `command '${humanLine(value)}' requested after already requesting '${humanLine(command)}'`)
      command = value
    } else if (key === 'object-format') {
      format = value
    } else if (key !== 'agent' && key !== 'server-option' && key !== 'session-id') {
      throw new ProtocolError('bad-request', `unknown capability '${humanLine(line)}'`)
    }
  }
}

/**
 * Reads the arguments of `fetch` up to their flush.
 * @throws ProtocolError `bad-request`, `unsupported`, `too-large`
 */
export async function readFetchV2(reader: PktReader): Promise<FetchRequestV2> {
  const wants = new OidList('wants', wireLimits.wants)
  const haves = new OidList('haves', wireLimits.haves)
  const shallow = new ShallowLines()
  const filter = new FilterLine()
  const wantRefs = new Set<RefName>()
  const flags = new Set<string>()
  for (;;) {
    const pkt = await reader.next()
    if (pkt?.kind === 'flush') break
    if (pkt?.kind !== 'data') throw new ProtocolError('bad-request', 'fetch: expected a flush after the arguments')
    const line = pktText(pkt.payload)
    if (line.startsWith('want ')) wants.add(line.slice(5))
    else if (line.startsWith('have ')) haves.add(line.slice(5))
    else if (line.startsWith('want-ref ')) addWantRef(wantRefs, line.slice(9) as RefName)
    else if (flagsV2.has(line)) flags.add(line)
    else if (!shallow.take(line) && !filter.take(line)) refuseLine(line)
  }
  return {
    ...shallow.finish(flags.has('deepen-relative')),
    wants: wants.distinct(),
    haves: haves.distinct(),
    done: flags.has('done'),
    thinPack: flags.has('thin-pack'),
    ofsDelta: flags.has('ofs-delta'),
    includeTag: flags.has('include-tag'),
    noProgress: flags.has('no-progress'),
    filter: filter.value,
    waitForDone: flags.has('wait-for-done'),
    wantRefs: [...wantRefs],
    sidebandAll: flags.has('sideband-all'),
  }
}

/** @throws ProtocolError `bad-request`, `too-large` */
function addWantRef(names: Set<RefName>, name: RefName): void {
  if (names.has(name)) throw new ProtocolError('bad-request', `duplicate want-ref ${humanLine(name)}`)
  if (names.size >= wireLimits.wants) throw new ProtocolError('too-large', `more than ${wireLimits.wants} refs wanted in one request`)
  names.add(name)
}

const flagsV2: ReadonlySet<string> = new Set([
  'done',
  'thin-pack',
  'ofs-delta',
  'include-tag',
  'no-progress',
  'wait-for-done',
  'deepen-relative',
  'sideband-all',
])

/**
 * Reads one whole request of protocol v0 or v1 over stateless HTTP: wants, a flush, then haves up to a flush, `done` or the end.
 * `undefined`: a flush alone, by which clients probe the way before a long body.
 *
 * Spec: gitprotocol-pack(5), "Packfile Negotiation".
 * @throws ProtocolError `bad-request`, `unsupported`, `too-large`
 */
export async function readFetchV0(reader: PktReader): Promise<FetchRequestV0 | undefined> {
  const wants = new OidList('wants', wireLimits.wants)
  const shallow = new ShallowLines()
  const filter = new FilterLine()
  let capabilities: ReadonlyMap<string, string> | undefined
  for (;;) {
    const pkt = await reader.next()
    if (pkt === undefined) throw new ProtocolError('bad-request', capabilities ? 'the request ends before its flush' : 'the request is empty')
    if (pkt.kind === 'flush') {
      if (capabilities === undefined) return undefined
      break
    }
    const line = pkt.kind === 'data' ? pktText(pkt.payload) : ''
    if (shallow.take(line) || filter.take(line)) continue
    if (!line.startsWith('want ')) refuseLine(line)
    wants.add(line.slice(5, 45))
    if (capabilities === undefined) {
      capabilities = parseCapabilities(line.slice(45))
      checkObjectFormat(capabilities.get('object-format'))
    } else if (line.length > 45) {
      refuseLine(line)
    }
  }
  const round = await readHaves(reader)
  const has = (name: string): boolean => capabilities.has(name)
  return {
    ...shallow.finish(has('deepen-relative')),
    ...round,
    wants: wants.distinct(),
    thinPack: has('thin-pack'),
    ofsDelta: has('ofs-delta'),
    includeTag: has('include-tag'),
    noProgress: has('no-progress'),
    filter: filter.value,
    multiAck: has('multi_ack_detailed') ? 'multi_ack_detailed' : has('multi_ack') ? 'multi_ack' : 'none',
    noDone: has('no-done'),
    sideBand: has('side-band-64k') ? sideBandBytes['side-band-64k'] : has('side-band') ? sideBandBytes['side-band'] : undefined,
  }
}

/** The line that makes a clone a partial one. */
class FilterLine {
  value: ObjectFilter | undefined

  /** False: the line is about something else. @throws ProtocolError `bad-request`, `unsupported` */
  take(line: string): boolean {
    if (!line.startsWith('filter ')) return false
    if (this.value) throw new ProtocolError('bad-request', 'more than one filter in one request')
    this.value = parseFilter(line.slice(7))
    return true
  }
}

/** The haves of one round. An end between two lines counts as the flush, as it does for git. */
async function readHaves(reader: PktReader): Promise<{ haves: readonly Oid[]; done: boolean; endsEarly: boolean }> {
  const haves = new OidList('haves', wireLimits.haves)
  for (;;) {
    const pkt = await reader.next()
    if (pkt?.kind !== 'data') return { haves: haves.list, done: false, endsEarly: pkt === undefined && haves.list.length === 0 }
    const line = pktText(pkt.payload)
    if (line === 'done') return { haves: haves.list, done: true, endsEarly: false }
    if (!line.startsWith('have ')) refuseLine(line)
    haves.add(line.slice(5))
  }
}
